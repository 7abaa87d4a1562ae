"""The times of a call that is repeated: warm, without the garbage collector."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WARM_UP = 2  # calls before the first that counts: memory is allocated, libraries choose their algorithms
LEAST = 5  # calls that count, however long they take: fewer have no quartiles to speak of


@dataclass(frozen=True)
class Times:
    """Seconds of a call: the median and the quartiles of so many repetitions."""

    median: float
    low: float
    high: float
    repetitions: int


def time_calls(call: Callable[[], object], *, seconds: float, least: int = LEAST) -> Times:
    """Repeats a call, after two that do not count, for so many seconds and at least so often.

    The call returns when its work is done: one on a GPU has to wait for it.
    """
    for _ in range(WARM_UP):
        call()
    samples: list[float] = []
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        while len(samples) < least or time.perf_counter() - started < seconds:
            before = time.perf_counter()
            call()
            samples.append(time.perf_counter() - before)
    finally:
        if enabled:
            gc.enable()
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75)).tolist()
    return Times(median, low, high, len(samples))
