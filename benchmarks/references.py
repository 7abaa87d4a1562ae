"""The detectors with every op replaced by its plain-PyTorch reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from inspect import isfunction
from typing import Any

import refinedet_ext as rx

from .case import Op

OPS = tuple(name for name in rx.__all__ if isfunction(getattr(rx.reference, name, None)))


@contextmanager
def reference_ops() -> Iterator[None]:
    """In the body `refinedet_ext`'s ops are their references, for all who call them as `rx.<op>`; the detectors do."""
    before = {name: getattr(rx, name) for name in OPS}
    try:
        for name in OPS:
            setattr(rx, name, getattr(rx.reference, name))
        yield
    finally:
        for name, op in before.items():
            setattr(rx, name, op)


def on_reference(op: Op) -> Op:
    """The op, or a network, run on the references."""

    def run(*inputs: Any) -> Any:
        with reference_ops():
            return op(*inputs)

    return run
