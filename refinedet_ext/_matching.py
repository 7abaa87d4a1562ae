"""Checks of `match_anchors`, shared by the torch and the NumPy face; nothing here reads data or imports torch."""

from __future__ import annotations

from typing import Any

from .checks import check_choice, check_dtype, check_range, check_shape

FORCE_MATCH = ("bipartite", "argmax", "none")


def check_matching(
    anchors: Any,
    gt_boxes: Any,
    gt_labels: Any,
    gt_offsets: Any,
    positive_iou: float,
    negative_iou: float,
    force_match: str,
    gt_ignore: Any,
    ignore_iof: float,
) -> None:
    sizes: dict[str, int] = {}
    check_shape(gt_boxes, "gt_boxes", ("G", 4), sizes)
    check_shape(gt_labels, "gt_labels", ("G",), sizes)
    check_dtype(gt_labels, "gt_labels", "int64")
    check_shape(gt_offsets, "gt_offsets", ("B+1",))
    check_dtype(gt_offsets, "gt_offsets", "int64")
    if gt_offsets.shape[0] == 0:
        raise ValueError("gt_offsets: expected shape (B+1,) with at least one offset, got (0,)")
    if gt_ignore is not None:
        check_shape(gt_ignore, "gt_ignore", ("G",), sizes)
        check_dtype(gt_ignore, "gt_ignore", "bool")
    batch, shape = gt_offsets.shape[0] - 1, anchors.shape
    if len(shape) not in (2, 3) or shape[-1] != 4 or (len(shape) == 3 and shape[0] != batch):
        raise ValueError(
            f"anchors: expected shape (A, 4), or (B, A, 4) with B = {batch} as gt_offsets says, got {tuple(shape)}"
        )
    check_range(positive_iou, "positive_iou", 0, 1)
    check_range(negative_iou, "negative_iou", 0, 1)
    check_range(ignore_iof, "ignore_iof", 0, 1, open_low=True)
    check_choice(force_match, "force_match", FORCE_MATCH)
