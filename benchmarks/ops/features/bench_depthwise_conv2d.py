"""Depthwise convolutions in training, forward and backward, beside torch's own. The forward is torch's in both."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from refinedet_ext.ops.depthwise_conv2d import depthwise_conv2d

from ...case import BOTH, Case, Peer, Target, precise, size_of

IMAGES = 16
# channels, side of the input, kernel, stride: layers of EfficientNet-Lite0 and MobileNet at 320 pixels
SHAPES = [
    (32, 160, 3, 1),
    (96, 160, 3, 2),
    (144, 80, 5, 2),
    (240, 40, 3, 2),
    (480, 20, 3, 1),
    (480, 20, 5, 1),
    (1152, 10, 5, 1),
]
OVER_TORCH = {torch.float32: 1.2, torch.bfloat16: 2.0}  # of kernels of 5


def ours(input: Tensor, weight: Tensor, stride: int) -> Tensor:
    return depthwise_conv2d(input, weight, None, stride, (weight.shape[2] // 2,) * 4)


def plain(input: Tensor, weight: Tensor, stride: int) -> Tensor:
    return F.conv2d(input, weight, None, stride, weight.shape[2] // 2, groups=weight.shape[0])


def inputs(channels: int, side: int, kernel: int, stride: int, dtype: torch.dtype) -> list[Any]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, channels, side, side, generator=rng).to(dtype)
    weight = (torch.randn(channels, 1, kernel, kernel, generator=rng) / kernel).to(dtype)
    return [x.contiguous(memory_format=torch.channels_last), weight, stride]


def cases() -> Iterator[Case]:
    for channels, side, kernel, stride in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.empty(IMAGES, channels, side, side, dtype=dtype, device="meta")
            out = x[..., ::stride, ::stride]
            yield Case(
                "depthwise_conv2d",
                f"B={IMAGES}, {side}x{side}, {channels} channels, {kernel}x{kernel}/{stride}",
                ours,
                partial(inputs, channels, side, kernel, stride, dtype),
                precise(plain),
                {"torch": Peer(plain)},
                dtype=str(dtype)[6:],
                direction=BOTH,
                flops=3 * 2 * out.numel() * kernel**2,
                bytes=3 * size_of(x) + 3 * size_of(out),
                targets=(Target(OVER_TORCH[dtype], "torch"),) if kernel == 5 else (),
                short=(channels, kernel) in ((96, 3), (480, 5)),
            )


def test_depthwise_conv2d(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
