from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from refinedet.init import caffe_xavier_, init_caffe, init_default, init_kaiming, init_normal


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(64, 128, 3), 64 * 9),
        (nn.ConvTranspose2d(256, 128, 2), 128 * 4),  # a Caffe blob of shape (in, out, 2, 2)
        (nn.Conv2d(64, 128, 3, groups=2), 32 * 9),
    ],
)
def test_caffe_xavier_is_uniform_within_its_bound(layer, fan_in):
    weight = caffe_xavier_(layer.weight)
    bound = math.sqrt(3 / fan_in)
    assert weight is layer.weight
    assert 0.99 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_init_caffe_clears_biases_everywhere():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sequential(nn.ConvTranspose2d(8, 8, 2)), nn.BatchNorm2d(8))
    init_caffe(module)
    assert (module[0].bias == 0).all() and (module[1][0].bias == 0).all()
    assert (module[2].weight == 1).all()


def test_init_kaiming_keeps_the_variance_of_the_fan_out():
    conv = nn.Conv2d(64, 128, 3)
    init_kaiming(conv)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.05)
    assert (conv.bias == 0).all()


def test_init_normal_has_its_spread():
    conv = nn.Conv2d(64, 128, 3)
    init_normal(conv, 0.01)
    assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05) and not conv.bias.any()


def test_init_default_is_pytorchs_without_biases():
    conv = nn.Conv2d(64, 128, 3)
    init_normal(conv, 5.0)
    init_default(nn.Sequential(conv))
    bound = (64 * 9) ** -0.5
    assert 0.98 * bound < conv.weight.abs().max() <= bound and not conv.bias.any()


def test_a_vector_has_no_fan_in():
    with pytest.raises(ValueError, match=r"weight: expected at least 2 dimensions, got shape \(3,\)"):
        caffe_xavier_(torch.zeros(3))
