"""Boxes to deltas, on NumPy arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..checks import check_variances
from ..defaults import VARIANCES
from ._arrays import aligned, op

_encode_boxes = op("encode_boxes")


def encode_boxes(
    boxes: ArrayLike,
    anchors: ArrayLike,
    variances: tuple[float, float, float, float] = VARIANCES,
) -> NDArray[Any]:
    """As `refinedet_ext.encode_boxes`, on arrays.

    Args:
        boxes: (..., 4), (x1, y1, x2, y2) in any unit.
        anchors: (..., 4) in the same unit; the shapes broadcast.
        variances: as there.

    Returns:
        (..., 4) of the promoted dtype, (dx, dy, dw, dh); lists of numbers count as float32.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for shapes or variances that do not fit.

    Example:
        >>> encode_boxes([[1.0, 0.0, 11.0, 10.0]], [[0.0, 0.0, 10.0, 10.0]])
        array([[1., 0., 0., 0.]], dtype=float32)
    """
    x, y = aligned("boxes", boxes, "anchors", anchors)
    return _encode_boxes(x, y, check_variances(variances))
