"""Checks of what the loss is given."""

from __future__ import annotations

from torch import Tensor

from ..checks import check_shape
from ..outputs import HeadOutputs


def check_inputs(
    outputs: HeadOutputs,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    gt_offsets: Tensor,
    gt_ignore: Tensor | None,
) -> None:
    """ValueError that names what does not fit: shapes against each other, labels against the number of classes."""
    check_shape(outputs.arm_logits, "arm_logits", ("B", "A", 2))
    images, anchors = outputs.arm_logits.shape[:2]
    check_shape(outputs.arm_deltas, "arm_deltas", (images, anchors, 4))
    check_shape(outputs.odm_logits, "odm_logits", (images, anchors, "C"))
    check_shape(outputs.odm_deltas, "odm_deltas", (images, anchors, 4))
    check_shape(outputs.anchors, "anchors", (anchors, 4))
    check_shape(gt_boxes, "gt_boxes", ("G", 4))
    check_shape(gt_labels, "gt_labels", (gt_boxes.shape[0],))
    check_shape(gt_offsets, "gt_offsets", (images + 1,))
    if gt_ignore is not None:
        check_shape(gt_ignore, "gt_ignore", (gt_boxes.shape[0],))
    classes = outputs.odm_logits.shape[-1]
    # on an accelerator the values cannot be looked at without waiting for it
    if gt_labels.device.type == "cpu" and gt_labels.numel():
        low, high = int(gt_labels.min()), int(gt_labels.max())
        if low < 1 or high >= classes:
            raise ValueError(f"gt_labels: expected classes in 1..{classes - 1}, got values from {low} to {high}")
