"""deconv_sum beside the matrix product that it cannot do without, and torch's conv_transpose2d + add + relu.

`gemm` is the floor: one product of the size of the forward, three of that for forward and backward.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx

CASES = {"20 to 40, B=1": (1, 20), "20 to 40, B=8": (8, 20), "5 to 10, B=8": (8, 5)}
CHANNELS = 256
WHO = ("gemm", "ours", "ours channels_last", "torch", "torch channels_last")


def torch_eager(input, weight, bias, lateral):
    return F.relu(F.conv_transpose2d(input, weight, bias, stride=2) + lateral)


def ours(input, weight, bias, lateral):
    return rx.deconv_sum(input, weight, bias, lateral, activation="relu")


def products(images, side, dtype, backward):
    rows = images * side * side
    a, b = torch.randn(rows, CHANNELS).to(dtype), torch.randn(CHANNELS, 4 * CHANNELS).to(dtype)
    out, grad_a, grad_b = a @ b, torch.empty_like(a), torch.empty_like(b)

    def run():
        torch.mm(a, b, out=out)
        if backward:
            torch.mm(out, b.t(), out=grad_a)
            torch.mm(a.t(), out, out=grad_b)

    return run


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("way", ["forward", "forward and backward"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("case", CASES)
def test_deconv_sum(benchmark, case, dtype, way, who):
    images, side = CASES[case]
    backward = way != "forward"
    benchmark.group = f"deconv_sum {CHANNELS} to {CHANNELS}, {case} {str(dtype)[6:]} {way}"
    if who == "gemm":
        benchmark.pedantic(products(images, side, dtype, backward), rounds=15, warmup_rounds=2)
        return
    rng = torch.Generator().manual_seed(0)
    layout = torch.channels_last if "channels_last" in who else torch.contiguous_format
    tensors = [
        torch.randn(images, CHANNELS, side, side, generator=rng).to(dtype).contiguous(memory_format=layout),
        (torch.randn(CHANNELS, CHANNELS, 2, 2, generator=rng) / 16).to(dtype),
        torch.randn(CHANNELS, generator=rng).to(dtype),
        torch.randn(images, CHANNELS, 2 * side, 2 * side, generator=rng).to(dtype).contiguous(memory_format=layout),
    ]
    function = ours if who.startswith("ours") else torch_eager
    expected = rx.reference.deconv_sum(*(t.float() for t in tensors), activation="relu").to(dtype)
    tolerance = 1e-3 if dtype == torch.float32 else 6e-2
    torch.testing.assert_close(function(*tensors), expected, rtol=tolerance, atol=tolerance)
    if not backward:
        with torch.no_grad():
            benchmark.pedantic(function, args=tensors, rounds=15, warmup_rounds=2)
        return
    leaves = [t.requires_grad_() for t in tensors]
    grad = torch.ones_like(expected)
    benchmark.pedantic(lambda: torch.autograd.grad(function(*leaves), leaves, grad), rounds=15, warmup_rounds=2)
