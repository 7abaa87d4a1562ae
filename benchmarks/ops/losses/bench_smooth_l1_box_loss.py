"""The smooth L1 box loss of a stage beside its reference and a composition on all anchors."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ...case import Case, Peer, both_ways
from ...inputs import ground_truth, pyramid_anchors
from ...peers import reference_peer
from ..boxes.bench_decode_boxes import SHAPES


def composed(deltas: Tensor, anchors: Tensor, gt_boxes: Tensor, gt_index: Tensor) -> Tensor:
    target = rx.reference.encode_boxes(gt_boxes[gt_index], anchors)
    each = F.smooth_l1_loss(deltas, target, reduction="none").sum(dim=-1)
    return torch.where(gt_index >= 0, each, 0.0).sum(dim=1)


def inputs(size: int, images: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    anchors, (boxes, labels, offsets) = pyramid_anchors(size), ground_truth(images, 8.4, rng)
    index = rx.match_anchors(anchors, boxes, labels, offsets).gt_index
    return torch.randn(images, len(anchors), 4, generator=rng).to(dtype), anchors, boxes, index


def cases() -> Iterator[Case]:
    for size, images in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            typical = (size, images) == (320, 32)
            if dtype == torch.bfloat16 and not typical:
                continue
            count = len(pyramid_anchors(size))
            yield from both_ways(
                Case(
                    "smooth_l1_box_loss",
                    f"B={images}, {count} anchors",
                    rx.smooth_l1_box_loss,
                    partial(inputs, size, images, dtype),
                    rx.reference.smooth_l1_box_loss,
                    {**reference_peer(rx.reference.smooth_l1_box_loss), "composed": Peer(composed)},
                    dtype=str(dtype)[6:],
                    gradients=(0,),
                    bytes=8 * images * count,  # the indices: of most anchors nothing else is needed
                    short=typical and dtype == torch.float32,
                ),
                # the gradients of all anchors are written
                bytes=images * count * (16 + 4 * dtype.itemsize),
            )


def test_smooth_l1_box_loss(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
