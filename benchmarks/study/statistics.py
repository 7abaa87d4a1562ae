"""Means over seeds and how far they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Student's t for two-sided 95%, by degrees of freedom: what scipy.stats.t.ppf(0.975, n) gives, of which it is all that
# is needed here. Between two of them the smaller number of degrees counts.
_T95 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 12: 2.179,
    14: 2.145, 16: 2.120, 18: 2.101, 20: 2.086, 25: 2.060, 30: 2.042, 40: 2.021, 60: 2.000, 120: 1.980,
}  # fmt: skip


def values_of(
    runs: Sequence[Mapping[str, Any]], data: str, row: str, metric: str, suppression: str = ""
) -> list[float]:
    """A metric of a row in a file of results, one for each seed; without seeds that have none, as APl of no object."""
    found = [run["metrics"][suppression][metric] for run in runs if (run["data"], run["row"]) == (data, row)]
    return [value for value in found if value is not None]


@dataclass(frozen=True)
class Estimate:
    """A mean, and half the width of its 95% interval; None where one value alone tells nothing of the spread."""

    value: float
    half: float | None

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half is not None and abs(self.value) > self.half

    def __str__(self) -> str:
        return f"{self.value:.1f}" if self.half is None else f"{self.value:.1f} ± {self.half:.1f}"

    @property
    def signed(self) -> str:
        """As text with a plus or minus, for differences."""
        text = f"{self.value:+.1f}".replace("-", "\N{MINUS SIGN}")
        return text if self.half is None else f"{text} ± {self.half:.1f}"


def student_t95(degrees: int) -> float:
    """The factor of a two-sided 95% interval with so many degrees of freedom, from 1 up."""
    if degrees < 1:
        raise ValueError(f"degrees: expected 1 or above, got {degrees}")
    return _T95[max(known for known in _T95 if known <= degrees)]


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of independent values, with the interval of their own spread."""
    if not values:
        raise ValueError("values: expected at least one, got none")
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Estimate(mean, None)
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    return Estimate(mean, student_t95(count - 1) * math.sqrt(variance / count))


def pooled_variance(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The variance within groups that are taken to spread alike, and its degrees of freedom.

    With three seeds a row has two degrees of freedom, whose interval is twice as wide as that of a dozen rows together.
    """
    squares, degrees = 0.0, 0
    for values in groups:
        if values:
            mean = math.fsum(values) / len(values)
            squares += math.fsum((v - mean) ** 2 for v in values)
            degrees += len(values) - 1
    return (squares / degrees if degrees else math.nan), degrees


def difference(values: Sequence[float], base: Sequence[float], spread: tuple[float, int]) -> Estimate:
    """The mean of `values` less that of `base`, with the interval that a common `spread` gives (`pooled_variance`)."""
    value = mean_of(values).value - mean_of(base).value
    variance, degrees = spread
    if not degrees:
        return Estimate(value, None)
    return Estimate(value, student_t95(degrees) * math.sqrt(variance * (1 / len(values) + 1 / len(base))))
