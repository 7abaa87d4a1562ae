"""Times contestants in turn in one process: medians and quartiles of many calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SHORTEST_SAMPLE = 500e-6  # seconds: shorter calls are repeated within a sample, so that each finds its data in cache
LONG = 5.0  # seconds: of longer calls one says enough


@dataclass(frozen=True)
class Time:
    """Milliseconds of one call: median and quartiles, of how many samples."""

    median: float
    low: float
    high: float
    samples: int

    @property
    def spread(self) -> float:
        """The interquartile range as a share of the median."""
        return (self.high - self.low) / self.median


def quantile(ordered: list[float], share: float) -> float:
    """Of a sorted list, linear between neighbours."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def summary(seconds: list[float]) -> Time:
    ordered = sorted(1e3 * s for s in seconds)
    median, low, high = (quantile(ordered, share) for share in (0.5, 0.25, 0.75))
    return Time(median, low, high, len(ordered))


def measure(
    contestants: Mapping[str, Callable[[], Any]], *, seconds: float = 0.5, most: int = 200, least: int = 3
) -> dict[str, Time]:
    """One sample of each contestant in turn, so that what else the machine does hits all alike.

    seconds: that each contestant may take in all; past it, or after `most` samples, it drops out, but not before
    `least` samples; of a very long call one sample is all.
    """
    repeats, samples, used = {}, {name: list[float]() for name in contestants}, dict.fromkeys(contestants, 0.0)
    for name, run in contestants.items():
        once = _sample(run, 1)
        if once > max(LONG, least * seconds):
            samples[name].append(once)
        else:
            once = min(once, _sample(run, 1))
        repeats[name] = max(1, int(SHORTEST_SAMPLE / max(once, 1e-9)))
    running = [name for name in contestants if not samples[name]]
    enabled = gc.isenabled()
    gc.disable()
    try:
        while running:
            for name in running:
                took = _sample(contestants[name], repeats[name])
                samples[name].append(took / repeats[name])
                used[name] += took
            running = [n for n in running if len(samples[n]) < least or (used[n] < seconds and len(samples[n]) < most)]
    finally:
        if enabled:
            gc.enable()
    return {name: summary(values) for name, values in samples.items()}


def _sample(run: Callable[[], Any], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        run()
    return time.perf_counter() - began
