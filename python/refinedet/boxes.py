"""The IoU of boxes in NumPy; in torch it is `refinedet_ext.reference.box_iou`."""

from __future__ import annotations

import numpy as np


def box_areas(boxes: np.ndarray, *, pixel: float = 0.0) -> np.ndarray:
    """(..., 4) to (...). pixel: added to every side; 1 where coordinates name the first and the last pixel inside."""
    areas: np.ndarray = (boxes[..., 2] - boxes[..., 0] + pixel) * (boxes[..., 3] - boxes[..., 1] + pixel)
    return areas


def box_iou(a: np.ndarray, b: np.ndarray, *, pixel: float = 0.0) -> np.ndarray:
    """(..., 4) twice, broadcast, to (...) float64: the IoU of each box of `a` with the one of `b` in its place.

    All pairs: `box_iou(a[:, None], b)`. 0 where the union has no area. pixel: as for `box_areas`.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    # Side by side: reductions over an axis of two numbers take several times as long.
    wide = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + pixel
    high = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + pixel
    shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    union = box_areas(a, pixel=pixel) + box_areas(b, pixel=pixel) - shared
    iou: np.ndarray = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return iou
