from __future__ import annotations

import pytest
import torch
from torch import nn

from refinedet.backbones import EfficientNetLite0, MobileNetV1, MobileNetV2, MobileNetV3, Res2NetLite, ShuffleNetV2
from refinedet.backbones.layers import conv_bn
from refinedet_ext.nn import DepthwiseConv2d


def test_conv_bn_is_depthwise_where_its_groups_are():
    assert type(conv_bn(8, 8, 3, 2, groups=8)[0]) is DepthwiseConv2d
    for other in (conv_bn(8, 8, 3), conv_bn(8, 8, 3, groups=4), conv_bn(8, 16, 3, groups=8), conv_bn(1, 1, 3)):
        assert type(other[0]) is nn.Conv2d
    assert type(conv_bn(8, 8, 3, groups=8, dilation=2)[0]) is nn.Conv2d


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_bn_keeps_and_halves_sizes(kernel, stride):
    for groups in (1, 4):
        out = conv_bn(4, 4, kernel, stride, groups=groups)(torch.randn(2, 4, 9, 6))
        assert out.shape == (2, 4, -(-9 // stride), -(-6 // stride))


@pytest.mark.parametrize(
    "make",
    [
        EfficientNetLite0,
        MobileNetV1,
        MobileNetV2,
        MobileNetV3,
        ShuffleNetV2,
        lambda: Res2NetLite(48, groups="depthwise"),
    ],
    ids=["efficientnet_lite0", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "shufflenet_v2", "res2net_lite"],
)
def test_every_depthwise_convolution_of_a_backbone_is_one(make):
    with torch.device("meta"):
        net = make()
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    depthwise = [m for m in convolutions if 1 < m.groups == m.in_channels == m.out_channels]
    assert depthwise and all(isinstance(m, DepthwiseConv2d) for m in depthwise)
