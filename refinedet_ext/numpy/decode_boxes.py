"""Deltas to boxes, on NumPy arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..checks import check_clip_to, check_variances
from ..defaults import VARIANCES
from ._arrays import aligned, op

_decode_boxes = op("decode_boxes")


def decode_boxes(
    deltas: ArrayLike,
    anchors: ArrayLike,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    clip_to: tuple[float, float] | None = None,
) -> NDArray[Any]:
    """As `refinedet_ext.decode_boxes`, on arrays.

    Args:
        deltas: (..., 4), (dx, dy, dw, dh).
        anchors: (..., 4), (x1, y1, x2, y2) in any unit; the shapes broadcast.
        variances, clip_to: as there.

    Returns:
        (..., 4) of the promoted dtype; lists of numbers count as float32.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for shapes, variances or clip_to that do not fit.

    Example:
        >>> decode_boxes([[1.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 10.0, 10.0]])
        array([[ 1.,  0., 11., 10.]], dtype=float32)
    """
    x, y = aligned("deltas", deltas, "anchors", anchors)
    return _decode_boxes(x, y, check_variances(variances), check_clip_to(clip_to))
