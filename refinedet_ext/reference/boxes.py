"""Box maths, and the coding of boxes as deltas."""

from __future__ import annotations

import torch
from torch import Tensor

from ..results import KeptAnchors

VARIANCES = (0.1, 0.1, 0.2, 0.2)
MAX_LOG_SCALE = 10.0  # decoded sides stay within e^-10 .. e^10 of the anchor's: no overflow, no division by zero
MAX_SHIFT = 1e6  # decoded centers stay within a million anchor sides
MIN_SIDE = 1e-12  # sides below this count as this, so that encode divides by something


def working(*tensors: Tensor) -> torch.dtype:
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def result(*tensors: Tensor) -> torch.dtype:
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def store(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to the result's dtype; what is finite stays finite."""
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit).to(dtype) if dtype != x.dtype else x


def box_area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(a: Tensor, b: Tensor) -> Tensor:
    sides = torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])
    sides = sides.clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M); 0 where the union has no area or a coordinate is NaN."""
    dtype = working(a, b)
    a, b = a.to(dtype), b.to(dtype)
    inter = intersection(a, b)
    union = box_area(a)[:, None] + box_area(b)[None, :] - inter
    iou = inter / union
    return torch.where(union > 0, iou, torch.zeros_like(iou)).nan_to_num(nan=0.0)


def _to_center(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) * 0.5, boxes[..., 2:] - boxes[..., :2]


def apply_deltas(deltas: Tensor, anchors: Tensor, variances: tuple[float, ...]) -> Tensor:
    center, size = _to_center(anchors)
    variance = torch.tensor(variances, dtype=deltas.dtype)
    shift = (deltas[..., :2] * variance[:2]).clamp(-MAX_SHIFT, MAX_SHIFT)
    scale = (deltas[..., 2:] * variance[2:]).clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
    center = center + shift * size
    half = size * scale.exp() * 0.5
    return torch.cat([center - half, center + half], dim=-1)


def clip(boxes: Tensor, clip_to: tuple[float, float] | None) -> Tensor:
    if clip_to is None:
        return boxes
    limit = torch.tensor([*clip_to, *clip_to], dtype=boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), limit)


def decode_boxes(
    deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    clip_to: tuple[float, float] | None = None,
) -> Tensor:
    dtype = working(deltas, anchors)
    boxes = clip(apply_deltas(deltas.to(dtype), anchors.to(dtype), variances), clip_to)
    return store(boxes, result(deltas, anchors))


def encode_boxes(boxes: Tensor, anchors: Tensor, variances: tuple[float, float, float, float] = VARIANCES) -> Tensor:
    dtype = working(boxes, anchors)
    center, size = _to_center(boxes.to(dtype))
    anchor_center, anchor_size = _to_center(anchors.to(dtype))
    size, anchor_size = size.clamp(min=MIN_SIDE), anchor_size.clamp(min=MIN_SIDE)
    variance = torch.tensor(variances, dtype=dtype)
    shift = ((center - anchor_center) / anchor_size).clamp(-MAX_SHIFT, MAX_SHIFT) / variance[:2]
    scale = (size / anchor_size).log().clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE) / variance[2:]
    return store(torch.cat([shift, scale], dim=-1), result(boxes, anchors))


def decode_cascade(
    arm_deltas: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    kept: KeptAnchors | None = None,
) -> Tensor:
    dtype = working(arm_deltas, odm_deltas, anchors)
    refined = apply_deltas(arm_deltas.to(dtype), anchors.to(dtype), variances)
    boxes = apply_deltas(odm_deltas.to(dtype), refined, variances)
    if kept is not None:
        mask = torch.zeros(boxes.shape[:2], dtype=torch.bool)
        for b, row in enumerate(kept.index):
            mask[b, row[: int(kept.count[b])]] = True
        boxes = torch.where(mask[..., None], boxes, torch.zeros_like(boxes))
    return store(boxes, result(arm_deltas, odm_deltas, anchors))
