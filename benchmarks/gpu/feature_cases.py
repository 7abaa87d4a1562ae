"""The feature ops beside torch and torchvision, forward and with the gradients of all inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ..case import BOTH, TOLERANCES, Target, both_ways, on_cpu, precise
from ..peers import torchvision_ops
from .case import GpuCase, GpuPeer

LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}
# dtype, with TF32, what the name says
KINDS = (
    (torch.bfloat16, False, "bfloat16"),
    (torch.float32, True, "float32 with TF32"),
    (torch.float32, False, "float32"),
)


def spread(shape: Sequence[int], deviation: float, rng: torch.Generator) -> Tensor:
    """Uniform around 0. Made of exact operations, so that every CPU draws the same bits; of `randn` not all do."""
    return (torch.rand(*shape, generator=rng) - 0.5) * (deviation * 12**0.5)


def feature_case(case: GpuCase, kind: tuple[torch.dtype, bool, str], targets: dict[str, tuple[Target, ...]]) -> Any:
    """Forward, and forward with backward. The reference computes in float64."""
    dtype, tf32, label = kind
    case = replace(
        case,
        name=f"{case.name}, {label}",
        expectation=f"{case.name}, {str(dtype)[6:]}",
        expected=on_cpu(precise(case.expected)),
        dtype=str(dtype)[6:],
        tf32=tf32,
        # TF32 multiplies operands of 11 bits, as many as float16 has
        tolerance=TOLERANCES["float16"] if tf32 else None,
        targets=targets.get(label, ()),
    )
    return both_ways(case, targets=targets.get(f"{label}, {BOTH}", ()))


def in_float16(*inputs: Tensor) -> list[Tensor]:
    """The same, for a peer without bfloat16: as fast as that on every GPU that has it."""
    halved = [t.detach().half() if t.dtype == torch.bfloat16 else t.detach() for t in inputs]
    return [new.requires_grad_(old.requires_grad) for new, old in zip(halved, inputs, strict=True)]


def plain_deconv_sum(x: Tensor, weight: Tensor, bias: Tensor, lateral: Tensor) -> Tensor:
    return F.relu(F.conv_transpose2d(x, weight, bias, stride=2) + lateral)


DECONV_TARGETS = {
    "bfloat16": (Target(1.5, "torch"), Target(1.4, "floor")),
    "float32 with TF32": (Target(1.5, "torch"),),
}


def deconv_inputs(
    device: str, images: int, channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format
) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [(images, channels, side, side), (channels, channels, 2, 2), (channels,)]
    shapes.append((images, channels, 2 * side, 2 * side))
    x, weight, bias, lateral = (spread(shape, 0.1, rng).to(device, dtype) for shape in shapes)
    return [x.contiguous(memory_format=layout), weight, bias, lateral.contiguous(memory_format=layout)]


def deconv_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for images, channels, side in [(1, 16, 6)] if small else [(32, 256, 20), (1, 256, 20), (32, 256, 32)]:
        pixels = images * side**2
        for kind in KINDS:
            width = kind[0].itemsize
            for order, layout in LAYOUTS.items():
                case = GpuCase(
                    "deconv_sum",
                    f"B={images}, {channels} channels, {side} to {2 * side}",
                    partial(rx.deconv_sum, activation="relu"),
                    partial(deconv_inputs, device, images, channels, side, kind[0], layout),
                    plain_deconv_sum,
                    {"torch": GpuPeer(plain_deconv_sum)},
                    # input, lateral map and output, weights and bias
                    bytes=(pixels * channels * (1 + 4 + 4) + 4 * channels**2 + channels) * width,
                    flops=2 * pixels * channels * 4 * channels,
                )
                for way in feature_case(case, kind, DECONV_TARGETS):
                    yield replace(way, name=f"{way.name}, {order}")


def torchvision_deform(steps: dict[str, Any], x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    return torchvision_ops().deform_conv2d(x, offset.to(x.dtype), weight, **steps)


def plain_convolution(steps: dict[str, Any], x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """cuDNN's, of the same shape; the offset gets a gradient of 0."""
    return F.conv2d(x, weight, **steps) + 0 * offset[:, :1]


def deform_inputs(
    device: str, images: int, channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format
) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = spread((images, channels, side, side), 1.0, rng).to(device, dtype)
    offset = spread((images, 18, side, side), 2.0, rng).to(device)
    weight = spread((channels, channels, 3, 3), 0.02, rng).to(device, dtype)
    # as a model in this layout has its weights, too: in another they would be put into order in every call
    return [x.contiguous(memory_format=layout), offset, weight.contiguous(memory_format=layout)]


PLAIN = "plain convolution"
DEFORM_TARGETS = {
    "bfloat16": (Target(3.0, "torchvision, float16"), Target(1 / 2, PLAIN)),
    f"bfloat16, {BOTH}": (Target(3.0, "torchvision, float16"),),
    "float32 with TF32": (Target(1 / 2, PLAIN),),
    "float32": (Target(1.2, "torchvision"),),
    f"float32, {BOTH}": (Target(1.4, "torchvision"),),
}


def deform_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    shapes = [(8, 256, 40, 5), (1, 256, 40, 5), (8, 256, 64, 5)]
    for images, channels, side, dilation in [(1, 16, 6, 2)] if small else shapes:
        steps: dict[str, Any] = {"padding": dilation, "dilation": dilation}
        pixels = images * side**2
        for kind in KINDS:
            half, width = kind[0] == torch.bfloat16, kind[0].itemsize
            # torchvision has no kernel for bfloat16
            theirs = GpuPeer(partial(torchvision_deform, steps), prepare=in_float16 if half else None)
            for order, layout in LAYOUTS.items():
                case = GpuCase(
                    "deform_align",
                    f"B={images}, {channels} channels, {side}x{side}",
                    partial(rx.deform_align, **steps),
                    partial(deform_inputs, device, images, channels, side, kind[0], layout),
                    partial(rx.reference.deform_align, **steps),
                    {
                        "torchvision, float16" if half else "torchvision": vision and theirs,
                        PLAIN: GpuPeer(partial(plain_convolution, steps), another=True),
                    },
                    # input and output, offsets in float32, weights
                    bytes=pixels * (2 * channels * width + 18 * 4) + 9 * channels**2 * width,
                    flops=2 * pixels * channels * 9 * channels,
                )
                for way in feature_case(case, kind, DEFORM_TARGETS):
                    yield replace(way, name=f"{way.name}, {order}")
