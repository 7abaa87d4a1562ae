"""Non-maximum suppression of boxes, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_range, check_shape
from ._arrays import as_array, contiguous, floating, op

_batched_nms = op("batched_nms")


def nms(boxes: ArrayLike, scores: ArrayLike, iou_threshold: float) -> NDArray[np.int64]:
    """As `refinedet_ext.nms`, on arrays.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2) in any unit.
        scores: (N,).
        iou_threshold: as there.

    Returns:
        (K,) int64, by falling score.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes and thresholds that do not fit.

    Example:
        >>> nms([[0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]], [0.5, 0.9, 0.7], 0.5)
        array([1, 2])
    """
    x, s, _ = _checked(boxes, scores)
    return _batched_nms(x, s, None, check_range(iou_threshold, "iou_threshold"))


def batched_nms(boxes: ArrayLike, scores: ArrayLike, idxs: ArrayLike, iou_threshold: float) -> NDArray[np.int64]:
    """As `refinedet_ext.batched_nms`, on arrays.

    Args:
        boxes, scores, iou_threshold: as in `nms`.
        idxs: (N,) of whole numbers; only boxes of the same one suppress one another.

    Returns:
        (K,) int64 over all groups, by falling score.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes and thresholds that do not fit.

    Example:
        >>> batched_nms([[0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]], [0.5, 0.9, 0.7], [1, 2, 2], 0.5)
        array([1, 2, 0])
    """
    if scores is None and np.size(boxes) == 0:
        return np.empty(0, np.int64)
    x, s, sizes = _checked(boxes, scores)
    groups = as_array(idxs, "idxs")
    if groups.size == 0 and not isinstance(idxs, np.ndarray):
        groups = groups.astype(np.int64)  # an empty list says nothing about its type
    check_shape(groups, "idxs", ("N",), sizes)
    if groups.dtype.kind not in "iu":
        raise TypeError(f"idxs: expected an integer dtype, got {groups.dtype}")
    return _batched_nms(x, s, contiguous(groups, np.int64), check_range(iou_threshold, "iou_threshold"))


def _checked(boxes: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any], dict[str, int]]:
    sizes: dict[str, int] = {}
    x, s = floating(boxes, "boxes"), floating(scores, "scores")
    check_shape(x, "boxes", ("N", 4), sizes)
    check_shape(s, "scores", ("N",), sizes)
    return contiguous(x, x.dtype), contiguous(s, s.dtype), sizes
