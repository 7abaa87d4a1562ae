"""Which ground truth each anchor answers for, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..checks import check_matching, check_rules
from ..defaults import FORCE_MATCH, IGNORE_IOF, NEGATIVE_IOU, POSITIVE_IOU
from ..results import Matches
from ._arrays import as_array, contiguous, floating, op

_match_anchors = op("match_anchors")


def match_anchors(
    anchors: ArrayLike,
    gt_boxes: ArrayLike,
    gt_labels: ArrayLike,
    gt_offsets: ArrayLike,
    *,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: str = FORCE_MATCH,
    gt_ignore: ArrayLike | None = None,
    ignore_iof: float = IGNORE_IOF,
) -> Matches:
    """As `refinedet_ext.match_anchors`, on arrays.

    Args:
        anchors: (A, 4), shared by all images, or (B, A, 4).
        gt_boxes: (G, 4), all images one after the other, in the unit of the anchors.
        gt_labels: (G,) int64, classes from 1 on.
        gt_offsets: (B+1,) int64; image b owns the rows gt_offsets[b] to gt_offsets[b + 1].
        positive_iou, negative_iou, force_match: as there.
        gt_ignore: (G,) bool, or None: crowd boxes, as there.
        ignore_iof: as there.

    Returns:
        Matches: labels, gt_index and iou, each (B, A), as there.

    Raises:
        TypeError: for a dtype that does not fit.
        ValueError: for a shape, threshold or mode that does not fit, and for offsets and labels that do not fit.

    Example:
        >>> anchors = [[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0], [6.0, 6.0, 9.0, 9.0]]
        >>> match_anchors(anchors, [[0.0, 0.0, 4.0, 3.0], [7.0, 7.0, 9.0, 8.0]], [3, 5], [0, 2]).labels
        array([[0, 3, 5]])
    """
    x, boxes = floating(anchors, "anchors"), floating(gt_boxes, "gt_boxes")
    labels = _exactly(gt_labels, "gt_labels", np.int64, "iu")
    offsets = _exactly(gt_offsets, "gt_offsets", np.int64, "iu")
    ignore = None if gt_ignore is None else _exactly(gt_ignore, "gt_ignore", np.bool_, "b")
    check_matching(x, boxes, labels, offsets, ignore)
    rules = check_rules(positive_iou, negative_iou, ignore_iof, force_match)
    return Matches(
        *_match_anchors(
            contiguous(x, x.dtype),
            contiguous(boxes, boxes.dtype),
            contiguous(labels, np.int64),
            contiguous(offsets, np.int64),
            None if ignore is None else contiguous(ignore, np.bool_),
            *rules,
        )
    )


def _exactly(value: ArrayLike, name: str, dtype: DTypeLike, kinds: str) -> NDArray[Any]:
    """An array as it is, for the checks to judge; a list of the right kind of values (or of none) as `dtype`."""
    array = as_array(value, name)
    if not isinstance(value, np.ndarray) and (array.size == 0 or array.dtype.kind in kinds):
        array = array.astype(dtype)
    return array
