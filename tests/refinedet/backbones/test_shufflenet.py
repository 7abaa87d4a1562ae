from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.backbones import ShuffleNetV2
from refinedet.backbones.shufflenet import (
    CHANNELS_05X,
    CHANNELS_10X,
    CHANNELS_15X,
    CHANNELS_20X,
    ShuffleUnit,
    shuffle_channels,
)

TINY = (8, 8, 16, 24, 32)


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [
        # torchvision's counts less the classifier's
        (CHANNELS_05X, 1_366_792 - 1_025_000),
        (CHANNELS_10X, 2_278_604 - 1_025_000),
        (CHANNELS_15X, 3_503_624 - 1_025_000),
        (CHANNELS_20X, 7_393_996 - 2_049_000),
    ],
)
def test_maps_and_parameters(channels, parameters):
    with torch.device("meta"):
        net = ShuffleNetV2(channels)
        maps = net(torch.zeros(1, 3, 320, 256))
    assert sum(p.numel() for name, p in net.named_parameters() if not name.startswith("extras.")) == parameters
    assert net.out_channels == (channels[1], channels[2], channels[4], 512) and net.strides == (8, 16, 32, 64)
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 320 // s, 256 // s) for c, s in zip(net.out_channels, net.strides, strict=True)
    ]


def test_shuffle_interleaves_the_halves():
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert shuffle_channels(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert shuffle_channels(x, 3).flatten().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("stride", [1, 2])
def test_unit_is_its_formula(stride):
    torch.manual_seed(0)
    unit = ShuffleUnit(8, 8, stride)
    for norm in unit.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    unit.eval()
    x = torch.randn(2, 8, 6, 6)
    left, right = (x, x) if stride == 2 else (x[:, :4], x[:, 4:])
    if stride == 2:
        b = unit.branch1
        left = b[1](F.conv2d(left, b[0].weight, stride=2, padding=1, groups=8))
        left = F.relu(b[3](F.conv2d(left, b[2].weight)))
    b = unit.branch2
    right = F.relu(b[1](F.conv2d(right, b[0].weight)))
    right = b[4](F.conv2d(right, b[3].weight, stride=stride, padding=1, groups=4))
    right = F.relu(b[6](F.conv2d(right, b[5].weight)))
    expected = torch.stack([left, right], dim=2).flatten(1, 2)
    torch.testing.assert_close(unit(x), expected)


def test_the_finest_map_can_be_left_out():
    net = ShuffleNetV2(TINY, (1, 1, 1), finest_stride=16).eval()
    assert net.strides == (16, 32, 64)
    assert [tuple(m.shape[1:]) for m in net(torch.randn(1, 3, 64, 64))] == [(16, 4, 4), (32, 2, 2), (512, 1, 1)]


def test_every_parameter_learns():
    torch.manual_seed(0)
    net = ShuffleNetV2(TINY, (2, 1, 2)).train()
    maps = net(torch.randn(2, 3, 128, 128))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (24, 116, 232, 464)}, r"channels: expected 5 numbers, the middle 3 even, got \(24, 116, 232"),
        ({"channels": (24, 115, 232, 464, 1024)}, "channels: expected 5 numbers, the middle 3 even, got"),
        ({"repeats": (4, 8)}, r"repeats: expected one number for each of 3 stages, got \(4, 8\)"),
        ({"repeats": (4, 0, 4)}, "repeats: expected an integer of at least 1, got 0"),
        ({"finest_stride": 4}, r"finest_stride: expected one of \[8, 16, 32, 64\], got 4"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ShuffleNetV2(**options)
