"""Which ground truth each anchor answers for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_floating, check_matching, check_rules, check_same_device
from ..defaults import FORCE_MATCH, IGNORE_IOF, NEGATIVE_IOU, POSITIVE_IOU
from ..results import Matches

_op = _library.op("match_anchors")

_RULES = (POSITIVE_IOU, NEGATIVE_IOU, IGNORE_IOF, FORCE_MATCH)


def match_anchors(
    anchors: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    gt_offsets: Tensor,
    *,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    force_match: str = FORCE_MATCH,
    gt_ignore: Tensor | None = None,
    ignore_iof: float = IGNORE_IOF,
) -> Matches:
    """Matches every anchor to a ground truth, to the background or to neither, per image and without an IoU matrix.

    An anchor takes the class of the ground truth that it overlaps most where that IoU is at least positive_iou; it is
    background where the IoU is below negative_iou, else it is ignored. Then each ground truth may force a match. A
    forced match needs an IoU above 1e-6. It goes before the anchor's own best ground truth, before the thresholds, and
    any match goes before an ignored ground truth.

    Overlaps are computed in float32 whatever the inputs are; a box with a NaN coordinate or without area overlaps
    nothing. Of equal overlaps the lower row is the best. The result does not depend on the number of threads.

    Args:
        anchors: (A, 4) float, shared by all images, or (B, A, 4), per image, as refined by the ARM; fewer than 2^31
            each.
        gt_boxes: (G, 4) float, all images one after the other, in the unit of the anchors.
        gt_labels: (G,) int64, classes from 1 on.
        gt_offsets: (B+1,) int64; image b owns the rows gt_offsets[b] to gt_offsets[b + 1], none where they are equal.
        positive_iou: in [0, 1].
        negative_iou: in [0, 1]; what lies between it and positive_iou is ignored.
        force_match: how ground truths force a match:

            - "bipartite": the pair with the best IoU is matched and both are out, then the best of the remaining pairs,
              and so on (ties: lower anchor, then lower ground truth): every ground truth keeps an anchor of its own
              while there are enough that overlap it. This is what RefineDet does.
            - "argmax": each ground truth takes its best anchor (ties: the lower one); of two that want the same anchor
              the later one keeps it. This is what most re-implementations do.
            - "none": only the thresholds count.
        gt_ignore: (G,) bool, crowd boxes: they match nothing, and an anchor that is not matched and has at least
            ignore_iof of its own area inside one of them is ignored.
        ignore_iof: in (0, 1].

    Returns:
        Matches: labels (B, A) int64, the class, 0 for background, -1 for ignored; gt_index (B, A) int64, the matched
        row of gt_boxes, -1 where there is none; iou (B, A) float32, the best IoU with a ground truth that is not
        ignored, 0 where the image has none. Not differentiable.

    Raises:
        TypeError: for a dtype that does not fit.
        ValueError: for a shape, device, threshold or mode that does not fit.
        RuntimeError: for offsets that do not run from 0 to G without falling, and for labels below 1.

    Note:
        A GPU gives the same bits as the CPU, does not make the host wait, and takes 0.5 kB of scratch memory per ground
        truth for "bipartite". The values that raise RuntimeError on a CPU are not read before the kernel runs there:
        labels are taken as they are, and offsets that fall or leave gt_boxes stop the kernel, which makes the process's
        next CUDA call fail.

    Source:
        SSD (Liu et al. 2016), "Matching strategy"; RefineDet (Zhang et al. 2018), "Training and Inference", and its
        published code.

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 4.0], [6.0, 6.0, 9.0, 9.0]])
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 4.0, 3.0], [7.0, 7.0, 9.0, 8.0]]), torch.tensor([3, 5])
        >>> matches = match_anchors(anchors, boxes, labels, torch.tensor([0, 2]))
        >>> matches.labels, matches.gt_index
        (tensor([[0, 3, 5]]), tensor([[-1,  0,  1]]))
    """
    rules = check_rules(positive_iou, negative_iou, ignore_iof, force_match)
    settings: tuple[Any, ...] = ()  # what is not given costs a call nothing
    if rules != _RULES:
        settings = (gt_ignore, *rules)
    elif gt_ignore is not None:
        settings = (gt_ignore,)
    try:
        return Matches._make(_op(anchors, gt_boxes, gt_labels, gt_offsets, *settings))
    except (RuntimeError, TypeError) as error:
        _check(anchors, gt_boxes, gt_labels, gt_offsets, gt_ignore)
        _library.drop_location(error)
        raise


def _check(anchors: Tensor, gt_boxes: Tensor, gt_labels: Tensor, gt_offsets: Tensor, gt_ignore: Tensor | None) -> None:
    check_floating(anchors, "anchors")
    check_floating(gt_boxes, "gt_boxes")
    check_matching(anchors, gt_boxes, gt_labels, gt_offsets, gt_ignore)
    check_same_device(
        anchors=anchors, gt_boxes=gt_boxes, gt_labels=gt_labels, gt_offsets=gt_offsets, gt_ignore=gt_ignore
    )


@_library.register_fake("match_anchors")
def _fake(
    anchors: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    gt_offsets: Tensor,
    gt_ignore: Tensor | None = None,
    positive_iou: float = POSITIVE_IOU,
    negative_iou: float = NEGATIVE_IOU,
    ignore_iof: float = IGNORE_IOF,
    force_match: str = FORCE_MATCH,
) -> tuple[Tensor, Tensor, Tensor]:
    _check(anchors, gt_boxes, gt_labels, gt_offsets, gt_ignore)
    check_rules(positive_iou, negative_iou, ignore_iof, force_match)
    batch = gt_offsets.shape[0] - 1 if anchors.dim() == 2 else anchors.shape[0]
    labels = gt_offsets.new_empty(batch, anchors.shape[-2])
    return labels, torch.empty_like(labels), torch.empty_like(labels, dtype=torch.float32)


_library.register_not_differentiable("match_anchors", floating=True)
_library.register_autocast("match_anchors", "float32")
_library.register_vmap("match_anchors")
