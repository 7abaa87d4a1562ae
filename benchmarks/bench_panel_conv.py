"""The convolution of narrow layers that `optimize_for_inference` uses, beside oneDNN's with packed weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx  # noqa: F401  (loads the ops)

from .case import Case, Peer

OPS = torch.ops.refinedet_ext
# of RefineDetLite at 320 pixels: channels in and out, groups, kernel, stride, side of the input
SHAPES = [
    (288, 72, 1, 1, 1, 40),
    (18, 18, 2, 3, 1, 40),
    (144, 576, 1, 1, 1, 20),
    (36, 36, 2, 3, 1, 20),
    (128, 128, 1, 3, 1, 20),
    (288, 288, 2, 3, 2, 20),
    (1152, 288, 1, 1, 1, 10),
    (512, 256, 1, 1, 1, 5),
]


def inputs(channels: int, outputs: int, groups: int, kernel: int, stride: int, side: int) -> tuple[Any, ...]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1, channels, side, side, generator=rng)
    terms = channels // groups * kernel**2
    weight = torch.randn(outputs, channels // groups, kernel, kernel, generator=rng) / terms**0.5
    bias = torch.randn(outputs, generator=rng)
    return x, weight, bias, OPS._to_panels(x), OPS._panel_conv_pack(weight, groups), stride, groups


def ours(x: Tensor, weight: Tensor, bias: Tensor, panels: Tensor, packed: Tensor, stride: int, groups: int) -> Tensor:
    outputs, _, kernel, _ = weight.shape
    height, width = x.shape[2:]
    return OPS._panel_conv(
        panels, None, packed, bias, outputs, height, width, kernel, stride, groups, True, None, False
    )


def expected(x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> Tensor:
    stride, groups = rest[-2:]
    maps = F.conv2d(x.double(), weight.double(), bias.double(), stride, weight.shape[2] // 2, 1, groups)
    return maps.relu().float()


def onednn(x: Tensor, packed: Tensor, bias: Tensor, geometry: Any) -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(x, packed, bias, *geometry, "relu", [], "")


def with_packed(x: Tensor, weight: Tensor, bias: Tensor, *rest: Any) -> tuple[Any, ...]:
    stride, groups = rest[-2:]
    geometry = ([weight.shape[2] // 2] * 2, [stride] * 2, [1, 1], groups)
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *geometry, list(x.shape))
    return x.contiguous(memory_format=torch.channels_last), packed, bias, geometry


def same(got: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(OPS._from_panels(got, *wanted.shape[2:]), wanted, rtol=1e-4, atol=1e-4)


def cases() -> Iterator[Case]:
    for channels, outputs, groups, kernel, stride, side in SHAPES:
        shape = (channels, outputs, groups, kernel, stride, side)
        pixels, terms = ((side - 1) // stride + 1) ** 2, channels // groups * kernel**2
        yield Case(
            "panel_conv",
            f"{kernel}x{kernel}/{stride}, {channels} to {outputs} in {groups} groups, {side}x{side}",
            ours,
            partial(inputs, *shape),
            expected,
            {"oneDNN, packed": Peer(onednn, with_packed) if torch.backends.mkldnn.is_available() else None},
            compare=same,
            flops=2 * pixels * outputs * terms,
        )


def test_panel_conv(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
