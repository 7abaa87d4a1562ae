"""Non-maximum suppression, and a detector's whole tail."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..results import Detections, KeptBoxes
from .boxes import VARIANCES, box_iou, clip, decode_cascade, working
from .matching import filter_anchors_mask


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    order = scores.to(working(scores)).sort(descending=True, stable=True).indices  # NaN counts as the largest
    alive = torch.ones(order.numel(), dtype=torch.bool)
    keep = []
    for position, row in enumerate(order.tolist()):
        if not alive[position]:
            continue
        keep.append(row)
        overlap = box_iou(boxes[row : row + 1], boxes[order[position + 1 :]])[0]
        alive[position + 1 :] &= ~(overlap.double() > iou_threshold)
    return torch.tensor(keep, dtype=torch.int64)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    kept = torch.zeros(scores.numel(), dtype=torch.bool)
    for group in idxs.unique():
        rows = (idxs == group).nonzero().flatten()
        kept[rows[nms(boxes[rows], scores[rows], iou_threshold)]] = True
    rows = kept.nonzero().flatten()
    return rows[scores[rows].to(working(scores)).sort(descending=True, stable=True).indices]


def batched_nms_padded(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> KeptBoxes:
    kept = batched_nms(boxes, scores, idxs, iou_threshold)
    padding = torch.full((scores.numel() - kept.numel(),), -1)
    return KeptBoxes(torch.cat([kept, padding]), torch.tensor(kept.numel()))


def soft_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, method: str, sigma: float, min_score: float
) -> tuple[Tensor, Tensor]:
    """One class: rows in the order they are picked, and their scores at that moment (Bodla et al. 2017)."""
    scores = scores.to(working(scores)).clone()
    left = list(range(scores.numel()))
    rows, picked = [], []
    while True:
        left = [row for row in left if float(scores[row]) >= min_score]
        if not left:
            break
        current = scores[left]
        row = left.pop(int((current == current.max()).int().argmax()))  # the lowest among equals
        rows.append(row)
        picked.append(scores[row].clone())
        overlap = box_iou(boxes[row : row + 1], boxes[left])[0]
        if method == "linear":
            weight = torch.where(overlap.double() > iou_threshold, 1 - overlap, torch.ones_like(overlap))
        else:
            weight = (-(overlap * overlap) / sigma).exp()
        scores[left] = scores[left] * weight
    return torch.tensor(rows, dtype=torch.int64), torch.stack(picked) if picked else scores[:0]


def multiclass_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.45,
    top_k_per_class: int | None = None,
    top_k: int | None = 400,
    keep_top_k: int = 200,
    method: str = "hard",
    sigma: float = 0.5,
    min_score: float = 0.001,
) -> Detections:
    batch, _, classes = scores.shape
    out_boxes = boxes.new_zeros(batch, keep_top_k, 4)
    out_scores = scores.new_zeros(batch, keep_top_k)
    out_labels = torch.zeros(batch, keep_top_k, dtype=torch.int64)
    out_count = torch.zeros(batch, dtype=torch.int64)
    dtype = working(boxes, scores)
    work, work_boxes = scores.to(dtype), boxes.to(dtype)
    for b in range(batch):
        found = []  # (class, anchor) of the candidates, then their scores
        for c in range(classes):
            rows = (work[b, :, c].double() > score_threshold).nonzero().flatten()
            rows = rows[work[b, rows, c].sort(descending=True, stable=True).indices]
            if top_k_per_class is not None:
                rows = rows[:top_k_per_class]
            found.append(torch.stack([torch.full_like(rows, c), rows], dim=1))
        candidates = torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.int64)
        values = work[b, candidates[:, 1], candidates[:, 0]]
        # by score, then class, then anchor: the list stands class by class with anchors rising among equals
        order = values.sort(descending=True, stable=True).indices
        if top_k is not None:
            order = order[:top_k]
        candidates = candidates[order]
        rows_kept, values_kept = [], []
        for c in range(classes):
            rows = candidates[candidates[:, 0] == c, 1].sort().values  # index order, so that ties fall as promised
            if method == "hard":
                kept = nms(work_boxes[b, rows], work[b, rows, c], iou_threshold)
                picked = work[b, rows[kept], c]
            else:
                kept, picked = soft_nms(work_boxes[b, rows], work[b, rows, c], iou_threshold, method, sigma, min_score)
            rows_kept.append(torch.stack([torch.full_like(kept, c), rows[kept]], dim=1))
            values_kept.append(picked)
        if not rows_kept:
            continue
        survivors, final = torch.cat(rows_kept), torch.cat(values_kept)
        # candidates of one class and score can leave soft-NMS out of anchor order: sort by anchor, class, then score
        by_index = (survivors[:, 0] * max(1, boxes.shape[1]) + survivors[:, 1]).sort().indices
        survivors, final = survivors[by_index], final[by_index]
        order = final.sort(descending=True, stable=True).indices[:keep_top_k]
        n = order.numel()
        out_boxes[b, :n] = boxes[b, survivors[order, 1]]
        out_scores[b, :n] = final[order].to(scores.dtype)
        out_labels[b, :n] = survivors[order, 0] + 1
        out_count[b] = n
    return Detections(out_boxes, out_scores, out_labels, out_count)


def detect(
    arm_logits: Tensor,
    arm_deltas: Tensor,
    odm_logits: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    *,
    theta: float = 0.99,
    variances: tuple[float, float, float, float] = VARIANCES,
    clip_to: tuple[float, float] | None = None,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.45,
    top_k_per_class: int | None = None,
    top_k: int | None = 400,
    keep_top_k: int = 200,
    method: str = "hard",
    sigma: float = 0.5,
    min_score: float = 0.001,
) -> Detections:
    dtype = working(arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)
    boxes = decode_cascade(arm_deltas.to(dtype), odm_deltas.to(dtype), anchors.to(dtype), variances)
    scores = odm_logits.to(dtype).softmax(dim=-1)[..., 1:]
    scores = scores.masked_fill(~filter_anchors_mask(arm_logits.to(dtype), theta)[..., None], -math.inf)
    found = multiclass_nms(
        boxes,
        scores,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        top_k_per_class=top_k_per_class,
        top_k=top_k,
        keep_top_k=keep_top_k,
        method=method,
        sigma=sigma,
        min_score=min_score,
    )
    return found._replace(boxes=clip(found.boxes, clip_to))  # after the suppression, as the original does
