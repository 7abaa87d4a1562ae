from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.optimize.winograd import KERNEL, convolve, transform_weight, worthwhile


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (20, 20), (23, 41)])
@pytest.mark.parametrize("channels", [(3, 5), (300, 16)])
@pytest.mark.parametrize("what", ["alone", "bias and relu", "sum and relu", "sum"])
def test_it_is_a_convolution(size, channels, what):
    rng = torch.Generator().manual_seed(0)
    x, other = (torch.randn(2, width, *size, generator=rng) for width in channels)
    weight, bias = torch.randn(channels[1], channels[0], 3, 3, generator=rng), torch.randn(channels[1], generator=rng)
    bias = bias if what == "bias and relu" else None
    other = other if "sum" in what else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    expected = expected if other is None else expected + other
    expected = expected.relu() if "relu" in what else expected
    before = [t if t is None else t.clone() for t in (x, other)]
    for layout in (torch.contiguous_format, torch.channels_last):
        got = convolve(
            x.contiguous(memory_format=layout),
            transform_weight(weight),
            bias,
            "relu" in what,
            other if other is None else other.contiguous(memory_format=layout),
        )
        assert got.shape == expected.shape and got.dtype == torch.float32
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    for tensor, copy in zip((x, other), before, strict=True):
        assert tensor is None or torch.equal(tensor, copy)


def test_a_kernel_of_one_point_copies():
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    x = torch.arange(30.0).reshape(1, 1, 5, 6)
    torch.testing.assert_close(convolve(x, transform_weight(weight), None, False), x, rtol=1e-5, atol=1e-5)
    assert len(KERNEL) == 6


def test_where_it_is_used():
    x, weight = torch.empty(1, 128, 20, 20, device="meta"), torch.empty(128, 128, 3, 3, device="meta")
    plain = ([1, 1], [1, 1], [1, 1], 1)
    assert worthwhile(x, weight, plain)
    assert not worthwhile(x.bfloat16(), weight, plain)
    assert not worthwhile(x[:, :, 1:], weight, plain)
    assert not worthwhile(x, weight[:64], plain)
    assert not worthwhile(x, weight[..., :1, :1], plain)
    for geometry in (([0, 0], *plain[1:]), ([1, 1], [2, 2], [1, 1], 1), ([1, 1], [1, 1], [2, 2], 1)):
        assert not worthwhile(x, weight, geometry)
