"""The box maths that the functions of `reference` share."""

from __future__ import annotations

import torch
from torch import Tensor

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
    """The area that each box of `a` shares with the one of `b` in its place: (..., 4) twice, broadcast, to (...)."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    sides = sides.clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M); 0 where the union has no area or a coordinate is NaN."""
    dtype = working(a, b)
    a, b = a.to(dtype), b.to(dtype)
    inter = intersection(a[:, None], b)
    union = box_area(a)[:, None] + box_area(b)[None, :] - inter
    iou = inter / union
    return torch.where(union > 0, iou, torch.zeros_like(iou)).nan_to_num(nan=0.0)


def center_and_half(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centers and half sides; from halves, since the sum of two coordinates may be beyond the dtype."""
    low, high = boxes[..., :2] * 0.5, boxes[..., 2:] * 0.5
    return low + high, high - low


def apply_deltas(deltas: Tensor, anchors: Tensor, variances: tuple[float, ...]) -> Tensor:
    center, half = center_and_half(anchors)
    variance = torch.tensor(variances, dtype=deltas.dtype, device=deltas.device)
    limit = torch.finfo(deltas.dtype).max
    shift = (deltas[..., :2] * variance[:2]).clamp(-MAX_SHIFT, MAX_SHIFT)
    scale = (deltas[..., 2:] * variance[2:]).clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
    center = center + shift * 2 * half
    half = (half * scale.exp()).clamp(-limit, limit)  # an infinite center minus that is no NaN
    return torch.cat([center - half, center + half], dim=-1).clamp(-limit, limit)


def clip(boxes: Tensor, clip_to: tuple[float, float] | None) -> Tensor:
    if clip_to is None:
        return boxes
    limit = torch.tensor([*clip_to, *clip_to], dtype=boxes.dtype, device=boxes.device)
    return torch.minimum(boxes.clamp(min=0), limit)
