"""deform_align beside the matrix products that it cannot do without, its reference (one `grid_sample` per tap), and
deform_conv2d of torchvision and mmcv."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import BOTH, FORWARD, Case, Peer, Target, both_ways, precise, size_of
from ...peers import mmcv_ops, peer_of, reference_peer, torchvision_ops

CHANNELS, TAPS = 256, 9
# images, side of the map, dilation: EFGRNet's first level, PADet's, a small last level
SHAPES = [(1, 40, 5), (8, 40, 5), (1, 64, 1), (32, 5, 1)]
WITHIN = {("float32", FORWARD): 1.2, ("float32", BOTH): 1.3, ("bfloat16", FORWARD): 1.25, ("bfloat16", BOTH): 1.25}
# one image, 40x40, float32: by peer
OVER_PEERS = {FORWARD: {"torchvision": 2.6, "reference": 1.25}, BOTH: {"torchvision": 6.0, "reference": 1.3}}


def with_steps(op: Callable[..., Any], dilation: int) -> Callable[..., Any]:
    return lambda x, offset, weight, **rest: op(x, offset, weight, padding=dilation, dilation=dilation, **rest)


def with_center(op: Callable[..., Any], dilation: int) -> Callable[..., Any]:
    return lambda x, offset, weight, center: with_steps(op, dilation)(x, offset, weight, center=center)


def mmcv_deform(ops: Any, dilation: int) -> Callable[..., Tensor]:
    """Its second kind, with a mask of ones: the first has no backward on the CPU for all versions."""

    def run(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
        mask = x.new_ones(len(x), TAPS, *offset.shape[2:])
        return ops.modulated_deform_conv2d(x, offset, mask, weight, None, 1, dilation, dilation, 1, 1)

    return run


def inputs(images: int, side: int, center: bool, layout: torch.memory_format, dtype: torch.dtype) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    made = [
        torch.randn(images, CHANNELS, side, side, generator=rng).to(dtype).contiguous(memory_format=layout),
        torch.randn(images, 2 * TAPS, side, side, generator=rng),
        (torch.randn(CHANNELS, CHANNELS, 3, 3, generator=rng) / 48).to(dtype),
        torch.randn(images, 2, side, side, generator=rng),
    ]
    return made if center else made[:3]


def cases() -> Iterator[Case]:
    for images, side, dilation in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            yield from _pair(images, side, dilation, dtype, torch.contiguous_format, center=False)
        yield from _pair(images, side, dilation, torch.float32, torch.channels_last, center=False)
    yield from _pair(1, 40, 5, torch.float32, torch.channels_last, center=True)


def _pair(
    images: int, side: int, dilation: int, dtype: torch.dtype, layout: torch.memory_format, *, center: bool
) -> list[Case]:
    wrap = with_center if center else with_steps
    kind, typical = str(dtype)[6:], (images, side) == (1, 40)
    reference = wrap(rx.reference.deform_align, dilation)
    peers: dict[str, Peer | None] = {**reference_peer(reference, compile=typical and layout == torch.channels_last)}
    if not center and dtype == torch.float32:  # their offsets have the map's dtype: bfloat16 has no room for positions
        peers["torchvision"] = peer_of(torchvision_ops(), lambda ops: with_steps(ops.deform_conv2d, dilation))
        peers["mmcv"] = peer_of(mmcv_ops(), lambda ops: mmcv_deform(ops, dilation))
    targets: dict[str, tuple[Target, ...]] = {FORWARD: (), BOTH: ()}
    if side in (40, 64):
        for way in targets:
            targets[way] = (Target(WITHIN[kind, way], "floor"),)
            if typical and dtype == torch.float32 and not center and layout == torch.contiguous_format:
                targets[way] += tuple(Target(ratio, name) for name, ratio in OVER_PEERS[way].items())
    rows = images * side * side
    x = torch.empty(images, CHANNELS, side, side, dtype=dtype)
    order = "channels last" if layout == torch.channels_last else "contiguous"
    return both_ways(
        Case(
            "deform_align",
            f"B={images}, {side}x{side}, dilation {dilation}, {CHANNELS} channels, {order}{', center' * center}",
            wrap(rx.deform_align, dilation),
            lambda: inputs(images, side, center, layout, dtype),
            precise(reference),
            peers,
            dtype=kind,
            tolerance=None if dtype == torch.bfloat16 else 1e-5,
            products=((rows, CHANNELS, CHANNELS * TAPS),),
            flops=2 * rows * CHANNELS**2 * TAPS,
            bytes=2 * size_of(x) + rows * 2 * TAPS * 4,
            targets=targets[FORWARD],
            short=typical and layout == torch.contiguous_format and not center,
        ),
        targets=targets[BOTH],
    )


def test_deform_align(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
