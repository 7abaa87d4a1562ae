"""Running the same call with different numbers of threads, on either face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import refinedet_ext.numpy as rxn


def with_threads(run: Callable[[], Any], *counts: int) -> list[Any]:
    """What `run` returns with each number of threads; the numbers of before are restored."""
    before = torch.get_num_threads(), rxn.get_num_threads()
    results = []
    try:
        for count in counts:
            torch.set_num_threads(count)
            rxn.set_num_threads(count)
            results.append(run())
    finally:
        torch.set_num_threads(before[0])
        rxn.set_num_threads(before[1])
    return results
