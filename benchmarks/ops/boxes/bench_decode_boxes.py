"""Decoding beside its reference, which is plain vectorised torch, and torchvision's box coder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, both_ways, size_of
from ...inputs import pyramid_anchors
from ...peers import optional, reference_peer

SHAPES = [(320, 1), (320, 32), (512, 32)]  # image size, images


def inputs(size: int, images: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    anchors = pyramid_anchors(size).to(dtype)
    deltas = torch.randn(images, len(anchors), 4, generator=torch.Generator().manual_seed(0))
    return deltas.to(dtype), anchors


def torchvision_peer() -> Peer | None:
    utils = optional("torchvision.models.detection._utils")
    if utils is None:
        return None
    return Peer(
        utils.BoxCoder((10.0, 10.0, 5.0, 5.0)).decode_single,
        # it wants one anchor per row
        prepare=lambda deltas, anchors: (deltas.flatten(0, 1), anchors.repeat(len(deltas), 1)),
        agrees=result_close(2e-2),
    )


def result_close(tolerance: float) -> Callable[[Any, Any], bool]:
    """Of the results alone, whatever their shapes: gradients by a broadcast input have another form."""

    def agrees(got: Any, expected: Any) -> bool:
        got, expected = (x[0] if isinstance(x, tuple) else x for x in (got, expected))
        error = (got.reshape(expected.shape).float() - expected.float()).norm()
        return bool(error <= tolerance * expected.float().norm())

    return agrees


def cases() -> Iterator[Case]:
    for size, images in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            count = len(pyramid_anchors(size))
            typical = (size, images) == (512, 32)
            yield from both_ways(
                Case(
                    "decode_boxes",
                    f"B={images}, {count} anchors",
                    rx.decode_boxes,
                    partial(inputs, size, images, dtype),
                    rx.reference.decode_boxes,
                    {**reference_peer(rx.reference.decode_boxes, compile=typical), "torchvision": torchvision_peer()},
                    dtype=str(dtype)[6:],
                    bytes=2 * size_of(torch.empty(images, count, 4, dtype=dtype)),
                    gradients=(0,),
                    short=typical or images == 1,
                ),
                short=typical,
            )


def test_decode_boxes(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
