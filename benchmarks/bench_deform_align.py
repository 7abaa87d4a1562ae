"""deform_align beside the matrix products that it cannot do without, its twin (one `grid_sample` per tap), a plain
convolution, and torchvision's deform_conv2d where that is installed.

`gemm` is the floor: one product of the size of the forward, three of that for forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

# images, side of the map, dilation: EFGRNet's first level, PADet's, a small last level
CASES = {"40x40 B=1": (1, 40, 5), "40x40 B=8": (8, 40, 5), "64x64 B=1": (1, 64, 1), "5x5 B=32": (32, 5, 1)}
CHANNELS, TAPS = 256, 9
WHO = ("gemm", "ours", "ours channels_last", "ours center", "conv2d", "reference", "torchvision")


def inputs(case: str, dtype: torch.dtype) -> dict[str, Tensor]:
    images, side, _ = CASES[case]
    rng = torch.Generator().manual_seed(0)
    return {
        "input": torch.randn(images, CHANNELS, side, side, generator=rng).to(dtype),
        "weight": (torch.randn(CHANNELS, CHANNELS, 3, 3, generator=rng) / 48).to(dtype),
        "offset": torch.randn(images, 2 * TAPS, side, side, generator=rng),
        "center": torch.randn(images, 2, side, side, generator=rng),
    }


def products(case: str, dtype: torch.dtype, backward: bool) -> Callable[[], Any]:
    images, side, _ = CASES[case]
    rows, depth = images * side * side, CHANNELS * TAPS
    columns, weight = torch.randn(rows, depth).to(dtype), torch.randn(CHANNELS, depth).to(dtype)
    out = torch.randn(rows, CHANNELS).to(dtype)
    grad_columns, grad_weight = torch.empty_like(columns), torch.empty_like(weight)

    def run() -> None:
        torch.mm(columns, weight.t(), out=out)
        if backward:
            torch.mm(out, weight, out=grad_columns)
            torch.mm(out.t(), columns, out=grad_weight)

    return run


def layer(who: str, case: str, given: dict[str, Tensor]) -> Callable[[], Tensor]:
    steps = {"stride": 1, "padding": CASES[case][2], "dilation": CASES[case][2]}
    if who == "conv2d":
        return lambda: F.conv2d(given["input"], given["weight"], **steps)
    function = rx.deform_align
    if who == "reference":
        function = rx.reference.deform_align
    elif who == "torchvision":
        function = pytest.importorskip("torchvision", reason="torchvision is not installed").ops.deform_conv2d
    shift = {"center": given["center"]} if "center" in given else {}
    return lambda: function(given["input"], given["offset"], given["weight"], **steps, **shift)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("way", ["forward", "forward and backward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("case", CASES)
def test_deform_align(benchmark, case, dtype, way, who):
    backward = way != "forward"
    benchmark.group = f"deform_align {case} {str(dtype)[6:]} {way}"
    if who == "gemm":
        benchmark.pedantic(products(case, dtype, backward), rounds=15, warmup_rounds=2)
        return
    if who == "torchvision" and dtype == torch.bfloat16:
        pytest.skip("torchvision wants offsets in the input's dtype, and bfloat16 has no room for positions")
    given = inputs(case, dtype)
    if who == "ours channels_last":
        given["input"] = given["input"].contiguous(memory_format=torch.channels_last)
    if who != "ours center":
        del given["center"]
    if who == "conv2d":
        del given["offset"]
    if who == "torchvision":
        given["offset"] = given["offset"].to(dtype)  # it takes one dtype
    if backward:
        given = {name: tensor.requires_grad_() for name, tensor in given.items()}
    run = layer(who, case, given)
    if who.startswith("ours"):
        exact = {name: tensor.detach().double() for name, tensor in given.items()}
        expected = layer("reference", case, exact)()
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 1.5e-2}[dtype] * expected.abs().max()
        assert (run().double() - expected).abs().max() < tolerance
    call: Callable[[], Any] = run
    if backward:
        ones = torch.ones_like(run())

        def call() -> Any:
            return torch.autograd.grad(run(), list(given.values()), ones)

    benchmark.pedantic(call, rounds=3 if who in ("reference", "torchvision") else 15, warmup_rounds=1)
