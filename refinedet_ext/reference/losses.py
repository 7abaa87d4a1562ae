"""The losses of positives and hard negatives."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..results import MinedLoss
from .boxes import VARIANCES, encode_boxes, working
from .matching import mine_hard_negatives


def mined_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    ratio: float = 3.0,
    min_negatives: int = 0,
    eligible: Tensor | None = None,
    targets: Tensor | None = None,
) -> MinedLoss:
    logits, targets = logits.to(working(logits)), (labels if targets is None else targets).clamp(min=0)
    ranking = F.cross_entropy(logits.detach().mT, targets, reduction="none")
    mined = mine_hard_negatives(ranking, labels, ratio=ratio, min_negatives=min_negatives, eligible=eligible)
    chosen = (labels > 0) | mined
    loss = logits.new_zeros(len(labels))
    for b, rows in enumerate(chosen):  # by index, so that NaN in rows that do not count stays out of the gradient
        loss[b] = F.cross_entropy(logits[b, rows], targets[b, rows], reduction="sum")
    return MinedLoss(loss, chosen, (labels > 0).sum(dim=1), mined.sum(dim=1))


def smooth_l1_box_loss(
    deltas: Tensor,
    anchors: Tensor,
    gt_boxes: Tensor,
    gt_index: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    beta: float = 1.0,
) -> Tensor:
    dtype = working(deltas, anchors, gt_boxes)
    deltas, anchors = deltas.to(dtype), anchors.detach().to(dtype).expand(deltas.shape)
    gt_boxes = gt_boxes.detach().to(dtype)
    loss = deltas.new_zeros(len(deltas))
    for b, index in enumerate(gt_index):
        rows = index >= 0
        target = encode_boxes(gt_boxes[index[rows]], anchors[b, rows], variances)
        loss[b] = F.smooth_l1_loss(deltas[b, rows], target, reduction="sum", beta=beta)
    return loss
