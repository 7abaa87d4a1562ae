"""The feature ops beside torch and torchvision, forward and with the gradients of all inputs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ..case import Op, Peer, both_ways, on_cpu, precise, size_of
from ..peers import torchvision_ops
from .case import GpuCase

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def feature_case(
    op: str, name: str, ours: Op, inputs: list[Tensor], reference: Op, peers: dict[str, Op | Peer | None], flops: float
) -> list[GpuCase]:
    """Forward, and forward with backward. The reference computes in float64."""
    return both_ways(
        GpuCase(
            op,
            name,
            ours,
            lambda: inputs,
            on_cpu(precise(reference)),
            {peer: Peer(run) if callable(run) else run for peer, run in peers.items()},
            bytes=size_of(*inputs) + size_of(inputs[-1] if op == "deconv_sum" else inputs[0]),
            flops=flops,
            dtype=str(inputs[0].dtype)[6:],
        )
    )


def in_float16(*inputs: Tensor) -> list[Tensor]:
    """The same, for a peer without bfloat16: as fast as that on every GPU that has it."""
    halved = [t.detach().half() if t.dtype == torch.bfloat16 else t.detach() for t in inputs]
    return [new.requires_grad_(old.requires_grad) for new, old in zip(halved, inputs, strict=True)]


def plain_deconv_sum(x: Tensor, weight: Tensor, bias: Tensor, lateral: Tensor) -> Tensor:
    return F.relu(F.conv_transpose2d(x, weight, bias, stride=2) + lateral)


def deconv_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for images, channels, side in [(1, 16, 6)] if small else [(1, 256, 20), (32, 256, 20), (32, 256, 32)]:
        for dtype in (torch.float32, torch.bfloat16):
            for order, layout in LAYOUTS.items():
                rng = torch.Generator().manual_seed(0)
                shapes = [(images, channels, side, side), (channels, channels, 2, 2), (channels,)]
                shapes.append((images, channels, 2 * side, 2 * side))
                inputs = [(torch.randn(shape, generator=rng) * 0.1).to(device, dtype) for shape in shapes]
                inputs[0], inputs[3] = (inputs[i].contiguous(memory_format=layout) for i in (0, 3))
                yield from feature_case(
                    "deconv_sum",
                    f"B={images}, {channels} channels, {side} to {2 * side}, {str(dtype)[6:]}, {order}",
                    partial(rx.deconv_sum, activation="relu"),
                    inputs,
                    plain_deconv_sum,
                    {"torch": plain_deconv_sum},
                    2 * images * side**2 * channels * 4 * channels,
                )


def deform_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    shapes = [(1, 256, 40, 5), (8, 256, 40, 5), (8, 256, 64, 5)]
    for images, channels, side, dilation in [(1, 16, 6, 2)] if small else shapes:
        steps: dict[str, Any] = {"padding": dilation, "dilation": dilation}
        for dtype in (torch.float32, torch.bfloat16):
            for order, layout in LAYOUTS.items():
                rng = torch.Generator().manual_seed(0)
                x = torch.randn(images, channels, side, side, generator=rng).to(device, dtype)
                offset = (torch.randn(images, 18, side, side, generator=rng) * 2).to(device)
                weight = (torch.randn(channels, channels, 3, 3, generator=rng) * 0.02).to(device, dtype)

                def peer(x: Tensor, offset: Tensor, weight: Tensor, steps: dict[str, Any] = steps) -> Tensor:
                    return vision.deform_conv2d(x, offset.to(x.dtype), weight, **steps)

                def plain(x: Tensor, offset: Tensor, weight: Tensor, steps: dict[str, Any] = steps) -> Tensor:
                    return F.conv2d(x, weight, **steps) + 0 * offset[:, :1]

                # torchvision has no kernel for bfloat16
                half = dtype == torch.bfloat16
                theirs = None if vision is None else Peer(peer, prepare=in_float16 if half else None)
                yield from feature_case(
                    "deform_align",
                    f"B={images}, {channels} channels, {side}x{side}, {str(dtype)[6:]}, {order}",
                    partial(rx.deform_align, **steps),
                    [x.contiguous(memory_format=layout), offset, weight],
                    partial(rx.reference.deform_align, **steps),
                    {"torchvision, float16" if half else "torchvision": theirs, "plain convolution": plain},
                    2 * images * side**2 * channels * 9 * channels,
                )
