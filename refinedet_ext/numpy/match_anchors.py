"""Which ground truth each anchor answers for, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._matching import check_matching
from ..results import Matches
from ._arrays import contiguous, floating, op

_match_anchors = op("match_anchors")


def match_anchors(
    anchors: ArrayLike,
    gt_boxes: ArrayLike,
    gt_labels: ArrayLike,
    gt_offsets: ArrayLike,
    *,
    positive_iou: float = 0.5,
    negative_iou: float = 0.5,
    force_match: str = "bipartite",
    gt_ignore: ArrayLike | None = None,
    ignore_iof: float = 0.5,
) -> Matches:
    """As `refinedet_ext.match_anchors`, on arrays; wrong offsets and labels raise ValueError here.

    >>> anchors = [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0], [6.0, 6.0, 9.0, 9.0]]
    >>> match_anchors(anchors, [[0.0, 0.0, 4.0, 3.0], [7.0, 7.0, 9.0, 8.0]], [3, 5], [0, 2]).labels
    array([[0, 3, 5]])
    """
    x, boxes = floating(anchors, "anchors"), floating(gt_boxes, "gt_boxes")
    labels, offsets = _exactly(gt_labels, np.int64, "iu"), _exactly(gt_offsets, np.int64, "iu")
    ignore = None if gt_ignore is None else _exactly(gt_ignore, np.bool_, "b")
    check_matching(x, boxes, labels, offsets, positive_iou, negative_iou, force_match, ignore, ignore_iof)
    return Matches(
        *_match_anchors(
            contiguous(x, x.dtype),
            contiguous(boxes, boxes.dtype),
            contiguous(labels, np.int64),
            contiguous(offsets, np.int64),
            None if ignore is None else contiguous(ignore, np.bool_),
            float(positive_iou),
            float(negative_iou),
            float(ignore_iof),
            force_match,
        )
    )


def _exactly(value: ArrayLike, dtype: DTypeLike, kinds: str) -> NDArray[Any]:
    """An array as it is, for the checks to judge; a list of the right kind of values (or of none) as `dtype`."""
    array = np.asarray(value)
    if not isinstance(value, np.ndarray) and (array.size == 0 or array.dtype.kind in kinds):
        array = array.astype(dtype)
    return array
