"""Bounds for counts of random events, wide enough that a right implementation never fails them."""

from __future__ import annotations

import math


def within_binomial(count: int, trials: int, probability: float) -> bool:
    """Whether a count is within 5 standard deviations of what the probability says."""
    spread = math.sqrt(trials * probability * (1 - probability))
    return abs(count - trials * probability) <= 5 * spread
