"""Encoding beside its reference, which is plain vectorised torch, and torchvision's box coder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, both_ways, size_of
from ...inputs import pyramid_anchors
from ...peers import optional, reference_peer
from .bench_decode_boxes import SHAPES, result_close


def inputs(size: int, images: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    anchors = pyramid_anchors(size)
    deltas = torch.randn(images, len(anchors), 4, generator=torch.Generator().manual_seed(0))
    return rx.reference.decode_boxes(deltas, anchors).to(dtype), anchors.to(dtype)


def torchvision_peer() -> Peer | None:
    utils = optional("torchvision.models.detection._utils")
    if utils is None:
        return None
    return Peer(
        utils.encode_boxes,
        # it wants one anchor per row
        prepare=lambda boxes, anchors: (
            boxes.flatten(0, 1),
            anchors.repeat(len(boxes), 1),
            torch.tensor([10.0, 10.0, 5.0, 5.0], dtype=boxes.dtype),
        ),
        agrees=result_close(3e-2),
    )


def cases() -> Iterator[Case]:
    for size, images in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            count = len(pyramid_anchors(size))
            typical = (size, images) == (512, 32)
            yield from both_ways(
                Case(
                    "encode_boxes",
                    f"B={images}, {count} anchors",
                    rx.encode_boxes,
                    partial(inputs, size, images, dtype),
                    rx.reference.encode_boxes,
                    {**reference_peer(rx.reference.encode_boxes, compile=typical), "torchvision": torchvision_peer()},
                    dtype=str(dtype)[6:],
                    bytes=2 * size_of(torch.empty(images, count, 4, dtype=dtype)),
                    gradients=(0,),
                    short=typical,
                )
            )


def test_encode_boxes(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
