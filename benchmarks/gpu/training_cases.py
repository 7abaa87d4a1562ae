"""The ops of training beside what SSD code composes of torch's own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ..case import Target, both_ways, on_cpu
from ..inputs import ground_truth, pyramid_anchors
from ..ops.losses.bench_mine_hard_negatives import two_sorts
from ..ops.losses.bench_mined_cross_entropy import inputs as loss_inputs
from ..ops.losses.bench_mined_cross_entropy import plain_loss
from ..ops.losses.bench_smooth_l1_box_loss import composed
from ..ops.losses.bench_smooth_l1_box_loss import inputs as distance_inputs
from ..ops.matching.bench_match_anchors import plain_box_iou
from .box_cases import exact_case, made, synchronizing
from .case import GpuCase, GpuPeer


def match_by_matrix(
    ranges: list[tuple[int, int]], anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor
) -> list[Tensor]:
    """What SSD code does image by image, without waiting for the GPU: the host knows the offsets."""
    results = []
    for first, last in ranges:
        if first == last:
            results.append(torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device))
            continue
        overlaps = plain_box_iou(anchors, boxes[first:last])
        best, which = overlaps.max(dim=1)
        forced = overlaps.argmax(dim=0)
        best[forced] = 2.0
        which[forced] = torch.arange(last - first, device=anchors.device)
        results.append(torch.where(best >= 0.5, labels[first:last][which], 0))
    return results


@cache
def matching_inputs(size: int, images: int, objects: float) -> tuple[Tensor, ...]:
    return pyramid_anchors(size), *ground_truth(images, objects, torch.Generator().manual_seed(0))


def matching_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for shape in [(320, 2, 5.0)] if small else [(320, 32, 8.4), (512, 32, 8.4), (512, 8, 100.0)]:
        size, images, objects = shape
        anchors, *_, ends = matching_inputs(*shape)
        ranges = list(zip(ends.tolist(), ends.tolist()[1:], strict=False))
        for force in ("argmax", "bipartite"):
            yield exact_case(
                "match_anchors",
                f"B={images}, {len(anchors)} anchors, {objects} objects, {force}",
                partial(rx.match_anchors, force_match=force),
                partial(made, device, matching_inputs, *shape),
                {"torch": synchronizing(partial(match_by_matrix, ranges))},
                bytes=images * len(anchors) * 20,
                targets=(Target(15.0, "torch"),) if images == 32 else (),
            )


def mining_inputs(images: int, count: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    loss = F.softplus(torch.randn(images, count, generator=rng) * 2 - 5)
    return loss, (torch.rand(images, count, generator=rng) < 0.01).long()


def mining_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for images, count in [(2, 500)] if small else [(32, 6375), (32, 16320), (1, 1_000_000)]:
        yield exact_case(
            "mine_hard_negatives",
            f"B={images}, {count} anchors",
            rx.mine_hard_negatives,
            partial(made, device, mining_inputs, images, count),
            {"two sorts": GpuPeer(partial(two_sorts, eligible=None))},
            bytes=images * count * 13,
        )


def logits_and_labels(images: int, count: int, classes: int) -> tuple[Tensor, ...]:
    return loss_inputs((images, count, classes), filtered=False)[:2]


def loss_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for shape in [(2, 500, 5)] if small else [(32, 6375, 21), (32, 6375, 2), (8, 16320, 81)]:
        images, count, classes = shape
        yield from both_ways(
            GpuCase(
                "mined_cross_entropy",
                f"B={images}, {count} anchors, {classes} columns",
                summed_loss,
                partial(made, device, logits_and_labels, *shape),
                on_cpu(summed_loss),
                {"torch": GpuPeer(partial(plain_loss, eligible=None))},
                bytes=images * count * (classes * 4 + 8),
            )
        )
    for size, images in [(320, 2)] if small else [(320, 32), (512, 8)]:
        count = len(pyramid_anchors(size))
        yield from both_ways(
            GpuCase(
                "smooth_l1_box_loss",
                f"B={images}, {count} anchors",
                rx.smooth_l1_box_loss,
                partial(made, device, distance_inputs, size, images, torch.float32),
                on_cpu(rx.smooth_l1_box_loss),
                {"torch": GpuPeer(composed)},
                gradients=(0,),
                bytes=images * count * 8,
            ),
            # the gradients of all anchors are written
            bytes=images * count * (16 + 16),
        )


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return rx.mined_cross_entropy(logits, labels).loss
