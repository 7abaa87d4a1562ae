"""Inputs of deform_align for its tests, and how its results are compared."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

import refinedet_ext as rx

# Of the largest expected value, against the reference in float64 on the same inputs:
# - float32: positions on a map of 40 pixels are off by 2e-6, sums of some hundred products round in another order;
# - float16: the result is rounded once, 2^-11; the sums are float32;
# - bfloat16: where the CPU multiplies it, sampled values and their gradient are rounded to 2^-9, and so is the result.
RELATIVE = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 1e-3, torch.bfloat16: 1.5e-2}


@dataclass
class Inputs:
    """The tensors of a call, and its numbers in `steps`."""

    input: Tensor
    weight: Tensor
    offset: Tensor | None
    center: Tensor | None
    mask: Tensor | None
    bias: Tensor | None
    steps: dict = field(default_factory=dict)

    def __call__(self, function=None) -> Tensor:
        function = function or rx.deform_align
        return function(
            self.input, self.offset, self.weight, self.bias, mask=self.mask, center=self.center, **self.steps
        )

    def tensors(self) -> dict[str, Tensor]:
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "steps"}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def map(self, change) -> Inputs:
        """The same call with `change(name, tensor)` in the place of every tensor."""
        changed = {name: change(name, tensor) for name, tensor in self.tensors().items()}
        return Inputs(**{f.name: changed.get(f.name) for f in fields(self) if f.name != "steps"}, steps=self.steps)

    def double(self) -> Inputs:
        return self.map(lambda _, t: t.detach().double())

    def leaves(self) -> Inputs:
        return self.map(lambda _, t: t.detach().clone().requires_grad_())


def off_grid(*shape: int, rng: torch.Generator, spread: float = 2.0) -> Tensor:
    """Offsets of about `spread` pixels whose fraction is in [0.1, 0.4].

    Two of them add up to no whole pixel, where bilinear interpolation has no one slope.
    """
    whole = (torch.randn(*shape, generator=rng) * spread).round()
    return whole + 0.1 + 0.3 * torch.rand(*shape, generator=rng)


def make(
    rng: torch.Generator,
    *,
    batch: int = 2,
    channels: int = 6,
    size: tuple[int, int] = (7, 9),
    out_channels: int = 4,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    offset_groups: int = 1,
    maps: str = "offset center mask",
    bias: bool = True,
    spread: float = 2.0,
    dtype: torch.dtype = torch.float32,
    map_dtype: torch.dtype | None = None,
    layout: torch.memory_format = torch.contiguous_format,
) -> Inputs:
    taps = kernel[0] * kernel[1]
    out = [(size[d] + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in (0, 1)]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng).to(dtype)

    def optional(name: str, value: Tensor) -> Tensor | None:
        return value.to(map_dtype or dtype) if name in maps.split() else None

    return Inputs(
        input=normal(batch, channels, *size).contiguous(memory_format=layout),
        weight=normal(out_channels, channels // groups, *kernel),
        offset=optional("offset", off_grid(batch, 2 * offset_groups * taps, *out, rng=rng, spread=spread)),
        center=optional("center", off_grid(batch, 2 * offset_groups, *out, rng=rng, spread=spread)),
        mask=optional("mask", torch.rand(batch, offset_groups * taps, *out, generator=rng)),
        bias=normal(out_channels) if bias else None,
        steps={"stride": stride, "padding": padding, "dilation": dilation},
    )


# Sizes that leave partial tiles and registers, and every kind of argument at least twice.
CASES = {
    "plain": {},
    "offset": {"maps": "offset", "bias": False},
    "center": {"maps": "center", "offset_groups": 2},
    "mask": {"maps": "mask", "offset_groups": 3},
    "none": {"maps": ""},
    "efgrnet": {
        "channels": 40,
        "size": (40, 38),
        "out_channels": 33,
        "padding": (5, 5),
        "dilation": (5, 5),
        "maps": "offset",
    },
    "padet": {"batch": 3, "channels": 17, "size": (20, 20), "out_channels": 16, "maps": "offset center", "bias": False},
    "even kernel": {"kernel": (2, 4), "padding": (1, 2), "channels": 20},
    "one tap": {"kernel": (1, 1), "padding": (0, 0), "batch": 5, "channels": 16, "out_channels": 1},
    "strides": {"kernel": (5, 3), "stride": (3, 2), "padding": (0, 3), "dilation": (1, 2), "size": (23, 14)},
    "groups": {"channels": 12, "out_channels": 6, "groups": 3, "offset_groups": 2, "stride": (2, 1)},
    "more offset groups": {"channels": 24, "out_channels": 10, "groups": 2, "offset_groups": 8, "maps": "offset mask"},
    "depthwise": {"channels": 9, "out_channels": 18, "groups": 9, "offset_groups": 3, "bias": False},
    "one channel": {"channels": 1, "out_channels": 1, "batch": 1, "size": (1, 1)},
    "far": {"spread": 30.0},
    "many small maps": {"batch": 33, "channels": 8, "size": (3, 2), "maps": "offset center"},
    "images by nines": {"batch": 11, "channels": 128, "size": (10, 10), "maps": "offset"},  # that fill a tile
}


def assert_near(got: Tensor, expected: Tensor, dtype: torch.dtype, what: str = "result") -> None:
    """Within RELATIVE[dtype] of the largest value of `expected`, which is float64."""
    assert got.shape == expected.shape, what
    if expected.numel() == 0:
        return
    error = (got.double() - expected).abs().max().item()
    assert error <= RELATIVE[dtype] * expected.abs().max().item() + 1e-30, f"{what}: off by {error}"
