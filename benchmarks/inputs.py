"""Realistic inputs that the benchmarks share."""

from __future__ import annotations

import torch
from torch import Tensor

import refinedet_ext as rx


def pyramid_anchors(size: int) -> Tensor:
    """(A, 4) RefineDet's anchors for an image of `size` pixels, in fractions of it: 6375 for 320, 16320 for 512."""
    levels = []
    for stride in (8, 16, 32, 64):
        ticks = (torch.arange(size // stride) + 0.5) * stride
        center = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), dim=-1)[:, :, None]
        ratio = torch.tensor([1.0, 2.0, 0.5]).sqrt()
        half = torch.stack([ratio, 1 / ratio], dim=-1) * stride * 2
        levels.append(torch.cat([center - half, center + half], dim=-1).reshape(-1, 4))
    return (torch.cat(levels) / size).clamp(0, 1)


def ground_truth(images: int, mean_objects: float, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, labels in 1..20 and offsets of a batch; many small objects, few large ones."""
    counts = torch.poisson(torch.full((images,), mean_objects), generator=rng).long()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    total = int(offsets[-1])
    center = torch.rand(total, 2, generator=rng)
    half = 0.02 + 0.25 * torch.rand(total, 2, generator=rng) ** 2
    boxes = torch.cat([center - half, center + half], dim=1).clamp(0, 1)
    return boxes, torch.randint(1, 21, (total,), generator=rng), offsets


def detections(count: int, classes: int, rng: torch.Generator, *, stray: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) in an image of side 1, scores (N,) and classes (N,) before suppression.

    The boxes crowd around 30 objects but for a share `stray` that lies anywhere; most scores are low.
    """
    center, size = torch.rand(30, 2, generator=rng), 0.03 + 0.3 * torch.rand(30, 2, generator=rng)
    which = torch.randint(30, (count,), generator=rng)
    anywhere = (torch.rand(count, generator=rng) < stray)[:, None]
    own_center = center[which] + 0.15 * size[which] * torch.randn(count, 2, generator=rng)
    own_center = torch.where(anywhere, torch.rand(count, 2, generator=rng), own_center)
    half = size[which] * (0.2 * torch.randn(count, 2, generator=rng)).exp() / 2
    scores = torch.rand(count, generator=rng) ** 4
    return (
        torch.cat([own_center - half, own_center + half], dim=1),
        scores,
        torch.randint(classes, (count,), generator=rng),
    )


def detector_outputs(
    anchors: Tensor, images: int, columns: int, survivors: int, candidates: int, rng: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What both stages of a trained detector put out around about 30 objects per image.

    Returns arm_logits (B, A, 2), arm_deltas (B, A, 4), odm_logits (B, A, columns) and odm_deltas (B, A, 4) with
    `survivors` anchors per image left at theta = 0.99, and about `candidates` of their class scores above 0.01.
    """
    count = len(anchors)
    arm_logits, odm_logits = torch.zeros(images, count, 2), torch.zeros(images, count, columns)
    arm_deltas, odm_deltas = (torch.randn(images, count, 4, generator=rng) * 0.3 for _ in range(2))
    for b in range(images):
        objects, labels, _ = ground_truth(1, 30.0, rng)
        overlaps = rx.reference.box_iou(anchors, objects)
        best, which = overlaps.max(dim=1)
        arm_deltas[b] += 0.7 * rx.reference.encode_boxes(objects[which], anchors) * (best > 0.1)[:, None]
        objectness = 8 * best + torch.randn(count, generator=rng)
        edge = objectness.sort(descending=True).values[survivors - 1 : survivors + 1].mean()
        arm_logits[b, :, 1] = objectness - edge + rx.reference.filter_threshold(0.99)
        odm_logits[b] = torch.randn(count, columns, generator=rng) * 1.5
        odm_logits[b, torch.arange(count), labels[which] * (columns - 1) // 20] += 6 * best
        odm_logits[b, :, 0] -= 12 * best
        odm_logits[b, :, 0] += _background(odm_logits[b, objectness > edge], candidates)
    return arm_logits, arm_deltas, odm_logits, odm_deltas


def _background(logits: Tensor, candidates: int) -> float:
    """What to add to column 0 so that about `candidates` softmax values of the others are above 0.01."""
    low, high = -20.0, 30.0
    for _ in range(30):
        middle = (low + high) / 2
        shifted = torch.cat([logits[:, :1] + middle, logits[:, 1:]], dim=1)
        low, high = (middle, high) if int((shifted.softmax(1)[:, 1:] > 0.01).sum()) > candidates else (low, middle)
    return low
