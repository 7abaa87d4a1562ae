"""Generalized IoU of paired boxes and its loss (Rezatofighi et al. 2019; RefineDetLite, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from refinedet_ext.reference import box_area, intersection

MIN_AREA = 1e-12  # its square is a normal float32 number, which the gradient of a quotient needs


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of `a` with the box of `b` in its place: (..., 4) twice -> (...); see `paired_giou`."""
    return _iou_and_union(a, b)[0]


def paired_giou(a: Tensor, b: Tensor) -> Tensor:
    """GIoU = IoU - (hull - union) / hull of each box of `a` with the box of `b` in its place, in [-1, 1].

    a, b: (..., 4) float, (x1, y1, x2, y2) in any unit; hull is the smallest box around both. Returns (...).

    Differentiable. A box that is empty or inverted has no area, and areas below 1e-12 count as that: IoU is 0 where
    the union is none, and GIoU equals IoU where the hull is none, so that neither value nor gradient is ever NaN.
    """
    iou, union = _iou_and_union(a, b)
    hull = box_area(torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])], dim=-1))
    return iou - (hull - union).clamp(min=0) / hull.clamp(min=MIN_AREA)


def giou_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - GIoU of paired boxes: (..., 4) twice -> (...), from 0 to 2."""
    return 1 - paired_giou(a, b)


def _iou_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shared = intersection(a, b)
    union = box_area(a) + box_area(b) - shared
    return shared / union.clamp(min=MIN_AREA), union
