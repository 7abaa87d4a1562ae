"""Every op once more in plain PyTorch: the slow, obvious truth that tests and benchmarks compare with.

Same names and arguments as the ops, fewer checks. Nothing here is tuned; where a rule is easier to see in a Python
loop it is a loop. The rules that all boxes share:

- boxes are (x1, y1, x2, y2); box maths runs in float32 for float16 and bfloat16 inputs, else in the input's dtype;
- a negative side counts as zero, so that an inverted box has no area;
- an IoU is rounded to the working dtype, a threshold is compared with it in double precision;
- ties go to the lower index.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ._reference_boxes import (
    MAX_LOG_SCALE,
    MAX_SHIFT,
    MIN_SIDE,
    apply_deltas,
    box_area,
    box_iou,
    center_and_half,
    clip,
    intersection,
    result,
    store,
    working,
)
from .defaults import VARIANCES
from .results import Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss

FORCE_MIN_IOU = 1e-6  # a ground truth that overlaps no anchor by more than this gets no forced match


# ---------------------------------------------------------------- matching


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
    """As `refinedet_ext.match_anchors`, image by image, with the whole matrix of overlaps."""
    batch = gt_offsets.numel() - 1
    shared = anchors.dim() == 2
    count = anchors.shape[-2]
    device = anchors.device
    labels = torch.zeros(batch, count, dtype=torch.int64, device=device)
    gt_index = torch.full((batch, count), -1, dtype=torch.int64, device=device)
    best_iou = torch.zeros(batch, count, dtype=torch.float32, device=device)
    for b in range(batch):
        first, last = int(gt_offsets[b]), int(gt_offsets[b + 1])
        boxes = anchors.float() if shared else anchors[b].float()
        nothing = torch.zeros(last - first, dtype=torch.bool, device=device)
        ignore = nothing if gt_ignore is None else gt_ignore[first:last].bool()
        rows = torch.arange(first, last, device=device)[~ignore]
        crowd = gt_boxes[first:last][ignore].float()
        overlaps = box_iou(boxes, gt_boxes[rows].float())
        match = torch.full((count,), -1, dtype=torch.int64, device=device)
        best = torch.zeros(count, device=device)
        if rows.numel() and count:
            best, which = overlaps.max(dim=1)
            which = (overlaps == best[:, None]).int().argmax(dim=1)  # the lowest row among equals
            match = torch.where(best.double() >= positive_iou, which, match)
            match = _force(overlaps, match, force_match)
        on_crowd = torch.zeros(count, dtype=torch.bool, device=device)
        if crowd.numel() and count:
            share = (intersection(boxes[:, None], crowd) / box_area(boxes)[:, None]).nan_to_num(nan=0.0)
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


# ---------------------------------------------------------------- filtering and mining


def filter_threshold(theta: float) -> float:
    """What logits[1] - logits[0] must reach where softmax(logits)[0] <= theta: log((1 - theta) / theta)."""
    if theta >= 1:
        return -math.inf
    return math.inf if theta <= 0 else math.log1p(-theta) - math.log(theta)


def filter_anchors_mask(arm_logits: Tensor, theta: float = 0.99) -> Tensor:
    """As `refinedet_ext.filter_anchors_mask`."""
    logits = arm_logits.to(working(arm_logits))
    return (logits[..., 1] - logits[..., 0]).double() >= filter_threshold(theta)


def filter_anchors(arm_logits: Tensor, theta: float = 0.99) -> KeptAnchors:
    """As `refinedet_ext.filter_anchors`."""
    mask = filter_anchors_mask(arm_logits, theta)
    index = torch.full(mask.shape, -1, dtype=torch.int64, device=mask.device)
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
    """As `refinedet_ext.mine_hard_negatives`, with a sort of every image's candidates."""
    chosen = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    candidates = labels == 0 if eligible is None else (labels == 0) & eligible.bool()
    for b in range(labels.shape[0]):
        where = candidates[b].nonzero().flatten()
        quota = max(int(ratio * int((labels[b] > 0).sum())), min_negatives)
        values = loss[b][where].to(working(loss))
        order = values.sort(descending=True, stable=True).indices  # NaN counts as the largest
        chosen[b, where[order[:quota]]] = True
    return chosen


# ---------------------------------------------------------------- box coding


def decode_boxes(
    deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    clip_to: tuple[float, float] | None = None,
) -> Tensor:
    """As `refinedet_ext.decode_boxes`."""
    dtype = working(deltas, anchors)
    boxes = clip(apply_deltas(deltas.to(dtype), anchors.to(dtype), variances), clip_to)
    return store(boxes, result(deltas, anchors))


def encode_boxes(boxes: Tensor, anchors: Tensor, variances: tuple[float, float, float, float] = VARIANCES) -> Tensor:
    """As `refinedet_ext.encode_boxes`."""
    dtype = working(boxes, anchors)
    center, half = center_and_half(boxes.to(dtype))
    anchor_center, anchor_half = center_and_half(anchors.to(dtype))
    half, anchor_half = half.clamp(min=MIN_SIDE / 2), anchor_half.clamp(min=MIN_SIDE / 2)
    variance = torch.tensor(variances, dtype=dtype, device=boxes.device)
    shift = ((center * 0.5 - anchor_center * 0.5) / anchor_half).clamp(-MAX_SHIFT, MAX_SHIFT) / variance[:2]
    scale = (half / anchor_half).log().clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE) / variance[2:]
    return store(torch.cat([shift, scale], dim=-1), result(boxes, anchors))


def decode_cascade(
    arm_deltas: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    kept: KeptAnchors | None = None,
) -> Tensor:
    """As `refinedet_ext.decode_cascade`: all anchors are decoded twice, those that are left out become 0."""
    dtype = working(arm_deltas, odm_deltas, anchors)
    refined = apply_deltas(arm_deltas.to(dtype), anchors.to(dtype), variances)
    boxes = apply_deltas(odm_deltas.to(dtype), refined, variances)
    if kept is not None:
        mask = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
        for b, row in enumerate(kept.index):
            mask[b, row[: int(kept.count[b])]] = True
        boxes = torch.where(mask[..., None], boxes, torch.zeros_like(boxes))
    return store(boxes, result(arm_deltas, odm_deltas, anchors))


# ---------------------------------------------------------------- losses


def mined_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    ratio: float = 3.0,
    min_negatives: int = 0,
    eligible: Tensor | None = None,
    targets: Tensor | None = None,
) -> MinedLoss:
    """As `refinedet_ext.mined_cross_entropy`, from the losses of all anchors."""
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
    """As `refinedet_ext.smooth_l1_box_loss`."""
    dtype = working(deltas, anchors, gt_boxes)
    deltas, anchors = deltas.to(dtype), anchors.detach().to(dtype).expand(deltas.shape)
    gt_boxes = gt_boxes.detach().to(dtype)
    loss = deltas.new_zeros(len(deltas))
    for b, index in enumerate(gt_index):
        rows = index >= 0
        target = encode_boxes(gt_boxes[index[rows]], anchors[b, rows], variances)
        loss[b] = F.smooth_l1_loss(deltas[b, rows], target, reduction="sum", beta=beta)
    return loss


# ---------------------------------------------------------------- feature maps


def deconv_sum(
    input: Tensor, weight: Tensor, bias: Tensor | None, lateral: Tensor, *, activation: str = "none"
) -> Tensor:
    """As `refinedet_ext.deconv_sum`, in the inputs' dtype."""
    up = F.conv_transpose2d(input, weight, bias, stride=2)
    out = up[:, :, : lateral.shape[2], : lateral.shape[3]] + lateral
    return out.relu() if activation == "relu" else out


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else cast("tuple[int, int]", tuple(value))


def deform_align(
    input: Tensor,
    offset: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    mask: Tensor | None = None,
    *,
    center: Tensor | None = None,
) -> Tensor:
    """As `refinedet_ext.deform_align`: one `grid_sample` per tap and offset group, then one grouped contraction.

    Computed in the input's working dtype.
    """
    (stride_y, stride_x), (pad_y, pad_x), (dil_y, dil_x) = _pair(stride), _pair(padding), _pair(dilation)
    result, dtype = input.dtype, working(input)
    input, weight = input.to(dtype), weight.to(dtype)
    batch, channels, height, width = input.shape
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    groups, taps = channels // group_channels, kernel_h * kernel_w
    out_h = (height + 2 * pad_y - dil_y * (kernel_h - 1) - 1) // stride_y + 1
    out_w = (width + 2 * pad_x - dil_x * (kernel_w - 1) - 1) // stride_x + 1
    if offset is not None:
        offset_groups = offset.shape[1] // (2 * taps)
    elif center is not None:
        offset_groups = center.shape[1] // 2
    else:
        offset_groups = mask.shape[1] // taps if mask is not None else 1
    total = input.new_zeros(batch, offset_groups, taps, 2, out_h, out_w)
    if offset is not None:
        total = total + offset.to(dtype).reshape(batch, offset_groups, taps, 2, out_h, out_w)
    if center is not None:
        total = total + center.to(dtype).reshape(batch, offset_groups, 1, 2, out_h, out_w)
    base_y = torch.arange(out_h, dtype=dtype, device=input.device)[:, None] * stride_y - pad_y
    base_x = torch.arange(out_w, dtype=dtype, device=input.device)[None, :] * stride_x - pad_x
    columns = []
    for tap in range(taps):
        row, col = divmod(tap, kernel_w)
        pieces = []
        for g, part in enumerate(input.chunk(offset_groups, dim=1)):
            y = base_y + row * dil_y + total[:, g, tap, 0]
            x = base_x + col * dil_x + total[:, g, tap, 1]
            piece = _bilinear(part, y, x)
            if mask is not None:
                piece = piece * mask.to(dtype).reshape(batch, offset_groups, taps, out_h, out_w)[:, g, tap][:, None]
            pieces.append(piece)
        columns.append(torch.cat(pieces, dim=1))
    stacked = torch.stack(columns, dim=2).reshape(batch, groups, group_channels, taps, out_h, out_w)
    kernel = weight.reshape(groups, out_channels // groups, group_channels, taps)
    out = torch.einsum("bgcthw,goct->bgohw", stacked, kernel).reshape(batch, out_channels, out_h, out_w)
    return store(out if bias is None else out + bias.to(dtype)[:, None, None], result)


def _bilinear(part: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Sample (B, c, H, W) at pixel positions (B, h, w); outside the map the value is zero, and so at NaN."""
    height, width = part.shape[2:]
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    y, x = torch.where(inside, y, -2.0), torch.where(inside, x, -2.0)
    # grid_sample without align_corners maps -1 and 1 to the outer pixel borders
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(part, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


# ---------------------------------------------------------------- suppression


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """As `refinedet_ext.nms`, box by box."""
    order = scores.to(working(scores)).sort(descending=True, stable=True).indices  # NaN counts as the largest
    alive = torch.ones(order.numel(), dtype=torch.bool, device=scores.device)
    keep = []
    for position, row in enumerate(order.tolist()):
        if not alive[position]:
            continue
        keep.append(row)
        overlap = box_iou(boxes[row : row + 1], boxes[order[position + 1 :]])[0]
        alive[position + 1 :] &= ~(overlap.double() > iou_threshold)
    return torch.tensor(keep, dtype=torch.int64, device=scores.device)


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """As `refinedet_ext.batched_nms`: `nms` of every group, then a sort by score."""
    kept = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    for group in idxs.unique():
        rows = (idxs == group).nonzero().flatten()
        kept[rows[nms(boxes[rows], scores[rows], iou_threshold)]] = True
    rows = kept.nonzero().flatten()
    return rows[scores[rows].to(working(scores)).sort(descending=True, stable=True).indices]


def batched_nms_padded(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> KeptBoxes:
    """As `refinedet_ext.batched_nms_padded`."""
    kept = batched_nms(boxes, scores, idxs, iou_threshold)
    padding = kept.new_full((scores.numel() - kept.numel(),), -1)
    return KeptBoxes(torch.cat([kept, padding]), torch.tensor(kept.numel(), device=scores.device))


def soft_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, method: str, sigma: float, min_score: float
) -> tuple[Tensor, Tensor]:
    """Soft suppression of one class (Bodla et al. 2017).

    Returns:
        The rows in the order in which they are picked, and their scores at that moment.
    """
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
    index = torch.tensor(rows, dtype=torch.int64, device=scores.device)
    return index, torch.stack(picked) if picked else scores[:0]


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
    """As `refinedet_ext.multiclass_nms`, class by class."""
    batch, _, classes = scores.shape
    out_boxes = boxes.new_zeros(batch, keep_top_k, 4)
    out_scores = scores.new_zeros(batch, keep_top_k)
    out_labels = torch.zeros(batch, keep_top_k, dtype=torch.int64, device=scores.device)
    out_count = torch.zeros(batch, dtype=torch.int64, device=scores.device)
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
        candidates = torch.cat(found) if found else torch.zeros(0, 2, dtype=torch.int64, device=scores.device)
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
    """As `refinedet_ext.detect`: every anchor is decoded and scored, then `multiclass_nms`."""
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
