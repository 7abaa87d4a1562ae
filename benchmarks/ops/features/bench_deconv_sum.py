"""deconv_sum beside the matrix product that it cannot do without, and torch's conv_transpose2d + add + relu."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ...case import BOTH, Case, Peer, Target, both_ways, precise, size_of

CHANNELS = 256
SHAPES = [(1, 20), (8, 20), (8, 5), (32, 20)]  # images, side of the input
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
# times the matrix products
TARGETS = {
    ("float32", "forward"): 1.1,
    ("float32", BOTH): 1.15,
    ("bfloat16", "forward"): 1.25,
    ("bfloat16", BOTH): 1.25,
}


def plain(input: Tensor, weight: Tensor, bias: Tensor, lateral: Tensor) -> Tensor:
    return F.relu(F.conv_transpose2d(input, weight, bias, stride=2) + lateral)


def ours(input: Tensor, weight: Tensor, bias: Tensor, lateral: Tensor) -> Tensor:
    return rx.deconv_sum(input, weight, bias, lateral, activation="relu")


def reference(input: Tensor, weight: Tensor, bias: Tensor, lateral: Tensor) -> Tensor:
    return rx.reference.deconv_sum(input, weight, bias, lateral, activation="relu")


def inputs(images: int, side: int, layout: torch.memory_format, dtype: torch.dtype) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [
        torch.randn(images, CHANNELS, side, side, generator=rng).to(dtype).contiguous(memory_format=layout),
        (torch.randn(CHANNELS, CHANNELS, 2, 2, generator=rng) / 16).to(dtype),
        torch.randn(CHANNELS, generator=rng).to(dtype),
        torch.randn(images, CHANNELS, 2 * side, 2 * side, generator=rng).to(dtype).contiguous(memory_format=layout),
    ]


def cases() -> Iterator[Case]:
    for images, side in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            for order, layout in LAYOUTS.items():
                kind = str(dtype)[6:]
                peers = {"torch": Peer(plain)}
                if (images, side) == (8, 20) and layout == torch.channels_last:
                    peers["torch.compile"] = Peer(plain, compile=True)
                wanted = (
                    {way: (Target(TARGETS[kind, way], "floor"),) for way in ("forward", BOTH)} if side == 20 else {}
                )
                small = torch.empty(images, CHANNELS, side, side, dtype=dtype)
                yield from both_ways(
                    Case(
                        "deconv_sum",
                        f"B={images}, {side} to {2 * side}, {CHANNELS} channels, {order}",
                        ours,
                        partial(inputs, images, side, layout, dtype),
                        precise(reference),
                        peers,
                        dtype=kind,
                        tolerance=None if dtype == torch.bfloat16 else 1e-5,
                        products=((images * side**2, 4 * CHANNELS, CHANNELS),),
                        flops=2 * images * side**2 * 4 * CHANNELS**2,
                        bytes=9 * size_of(small),
                        targets=wanted.get("forward", ()),
                        short=(images, side) in ((1, 20), (8, 20)) and order == "channels last",
                    ),
                    targets=wanted.get(BOTH, ()),
                )


def test_deconv_sum(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
