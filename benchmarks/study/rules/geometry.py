"""Areas and overlaps of boxes. A negative side counts as none."""

from __future__ import annotations

from collections.abc import Sequence

Box = Sequence[float]


def area(box: Box, pixel: float = 0.0) -> float:
    """pixel: added to each side; 1 where the coordinates name the last pixel inside, as in the test scripts."""
    return max(box[2] - box[0] + pixel, 0.0) * max(box[3] - box[1] + pixel, 0.0)


def shared(a: Box, b: Box, pixel: float = 0.0) -> float:
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])], pixel)


def iou(a: Box, b: Box, pixel: float = 0.0) -> float:
    """0 where neither box has an area."""
    common = shared(a, b, pixel)
    union = area(a, pixel) + area(b, pixel) - common
    return common / union if union > 0 else 0.0


def hull(a: Box, b: Box) -> list[float]:
    """The smallest box around both."""
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]
