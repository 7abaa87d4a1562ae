"""Which anchor stands for what, and which anchors count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..results import KeptAnchors, Matches
from .boxes import box_area, box_iou, intersection, working

FORCE_MIN_IOU = 1e-6  # a ground truth that overlaps no anchor by more than this gets no forced match


def match_anchors(
    anchors: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    gt_offsets: Tensor,
    *,
    positive_iou: float = 0.5,
    negative_iou: float = 0.5,
    force_match: str = "bipartite",
    gt_ignore: Tensor | None = None,
    ignore_iof: float = 0.5,
) -> Matches:
    batch = gt_offsets.numel() - 1
    shared = anchors.dim() == 2
    count = anchors.shape[-2]
    labels = torch.zeros(batch, count, dtype=torch.int64)
    gt_index = torch.full((batch, count), -1, dtype=torch.int64)
    best_iou = torch.zeros(batch, count, dtype=torch.float32)
    for b in range(batch):
        first, last = int(gt_offsets[b]), int(gt_offsets[b + 1])
        boxes = anchors.float() if shared else anchors[b].float()
        ignore = torch.zeros(last - first, dtype=torch.bool) if gt_ignore is None else gt_ignore[first:last].bool()
        rows = torch.arange(first, last)[~ignore]
        crowd = gt_boxes[first:last][ignore].float()
        overlaps = box_iou(boxes, gt_boxes[rows].float())
        match = torch.full((count,), -1, dtype=torch.int64)
        best = torch.zeros(count)
        if rows.numel() and count:
            best, which = overlaps.max(dim=1)
            which = (overlaps == best[:, None]).int().argmax(dim=1)  # the lowest row among equals
            match = torch.where(best.double() >= positive_iou, which, match)
            match = _force(overlaps, match, force_match)
        on_crowd = torch.zeros(count, dtype=torch.bool)
        if crowd.numel() and count:
            share = (intersection(boxes, crowd) / box_area(boxes)[:, None]).nan_to_num(nan=0.0)
            on_crowd = (share.double() >= ignore_iof).any(dim=1)
        negative = (best.double() < negative_iou) & ~on_crowd
        positive = match >= 0
        labels[b] = torch.where(negative, 0, -1)
        if rows.numel():
            row = rows[match.clamp(min=0)]
            labels[b] = torch.where(positive, gt_labels[row], labels[b])
            gt_index[b] = torch.where(positive, row, gt_index[b])
        best_iou[b] = best
    return Matches(labels, gt_index, best_iou)


def _force(overlaps: Tensor, match: Tensor, mode: str) -> Tensor:
    """Give ground truths an anchor whatever the threshold says; overlaps (A, G)."""
    match = match.clone()
    if mode == "argmax":  # each on its own: of two ground truths with the same best anchor the later one keeps it
        for g in range(overlaps.shape[1]):
            a = int((overlaps[:, g] == overlaps[:, g].max()).int().argmax())
            if overlaps[a, g] > FORCE_MIN_IOU:
                match[a] = g
    elif mode == "bipartite":  # the best pair first, then both are out; ties: lower anchor, then lower ground truth
        pool = overlaps.clone()
        for _ in range(min(pool.shape)):
            flat = int((pool == pool.max()).flatten().int().argmax())
            a, g = divmod(flat, pool.shape[1])
            if not pool[a, g] > FORCE_MIN_IOU:
                break
            match[a] = g
            pool[a, :] = -1
            pool[:, g] = -1
    return match


def filter_threshold(theta: float) -> float:
    """softmax(logits)[0] <= theta  <=>  logits[1] - logits[0] >= log((1 - theta) / theta)."""
    if theta >= 1:
        return -math.inf
    return math.inf if theta <= 0 else math.log1p(-theta) - math.log(theta)


def filter_anchors_mask(arm_logits: Tensor, theta: float = 0.99) -> Tensor:
    logits = arm_logits.to(working(arm_logits))
    return (logits[..., 1] - logits[..., 0]).double() >= filter_threshold(theta)


def filter_anchors(arm_logits: Tensor, theta: float = 0.99) -> KeptAnchors:
    mask = filter_anchors_mask(arm_logits, theta)
    index = torch.full(mask.shape, -1, dtype=torch.int64)
    for row, kept in zip(index, mask, strict=True):
        where = kept.nonzero().flatten()
        row[: where.numel()] = where
    return KeptAnchors(index, mask.sum(dim=1))


def mine_hard_negatives(
    loss: Tensor,
    labels: Tensor,
    *,
    ratio: float = 3.0,
    min_negatives: int = 0,
    eligible: Tensor | None = None,
) -> Tensor:
    chosen = torch.zeros(labels.shape, dtype=torch.bool)
    candidates = labels == 0 if eligible is None else (labels == 0) & eligible.bool()
    for b in range(labels.shape[0]):
        where = candidates[b].nonzero().flatten()
        quota = max(int(ratio * int((labels[b] > 0).sum())), min_negatives)
        values = loss[b][where].to(working(loss))
        order = values.sort(descending=True, stable=True).indices  # NaN counts as the largest
        chosen[b, where[order[:quota]]] = True
    return chosen
