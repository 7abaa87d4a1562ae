"""The detectors with every op replaced by its plain-PyTorch twin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isfunction
from typing import Any

import refinedet_ext as rx

from .case import Op

OPS = tuple(name for name in rx.__all__ if isfunction(getattr(rx.reference, name, None)))


@contextmanager
def twins() -> Iterator[None]:
    """In the body `refinedet_ext`'s ops are their twins, for all who call them by that module, as the detectors do."""
    before = {name: getattr(rx, name) for name in OPS}
    try:
        for name in OPS:
            setattr(rx, name, getattr(rx.reference, name))
        yield
    finally:
        for name, op in before.items():
            setattr(rx, name, op)


def on_twins(op: Op) -> Op:
    """The op, or a network, run on the twins."""

    def run(*inputs: Any) -> Any:
        with twins():
            return op(*inputs)

    return run
