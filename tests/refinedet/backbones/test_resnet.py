from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.backbones import BottleneckStage, ConvStage, ResNet
from refinedet.backbones.bottleneck import Bottleneck
from refinedet.backbones.resnet import RESNET50, RESNET101, RESNET152

TINY = {"depths": (1, 2, 1, 1), "width": 8}


def tiny(**options):
    torch.manual_seed(0)
    return ResNet(**{**TINY, **options})


def count(net, prefix=""):
    return sum(p.numel() for name, p in net.named_parameters() if name.startswith(prefix))


@pytest.mark.parametrize(
    ("options", "trunk"),
    [
        # torchvision's counts less the classifier's 2,049,000
        ({"depths": RESNET50}, 25_557_032 - 2_049_000),
        ({"depths": RESNET101}, 44_549_160 - 2_049_000),
        ({"depths": RESNET152}, 60_192_808 - 2_049_000),
        ({"cardinality": 32, "group_width": 8}, 88_791_336 - 2_049_000),
        ({"depths": RESNET50, "cardinality": 32, "group_width": 4}, 25_028_904 - 2_049_000),
    ],
)
@pytest.mark.parametrize("style", ["caffe", "torchvision"])
def test_parameter_counts(options, trunk, style):
    with torch.device("meta"):
        net = ResNet(style=style, **options)
    assert count(net) - count(net, "extras.") == trunk
    # res6: 2048 -> 128 -> 128 -> 512 and the projection, with their norms
    assert count(net, "extras.") == 2048 * 128 + 9 * 128 * 128 + 128 * 512 + 2048 * 512 + 2 * (128 + 128 + 512 + 512)


@pytest.mark.parametrize("style", ["caffe", "torchvision"])
def test_maps_of_resnet101(style):
    with torch.device("meta"):
        net = ResNet(style=style)
        for size, sides in ((320, (40, 20, 10, 5)), (512, (64, 32, 16, 8))):
            maps = net(torch.zeros(1, 3, size, size))
            assert [tuple(m.shape[1:]) for m in maps] == [
                (channels, side, side) for channels, side in zip((512, 1024, 2048, 512), sides, strict=True)
            ]
    assert net.out_channels == (512, 1024, 2048, 512) and net.strides == (8, 16, 32, 64)


@pytest.mark.parametrize("style", ["caffe", "torchvision"])
@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_tiny_maps_have_the_promised_channels_and_strides(style, size):
    net = tiny(style=style).eval()
    with torch.no_grad():
        maps = net(torch.randn(2, 3, *size))
    assert net.out_channels == (64, 128, 256, 512)
    expected = [(2, c, size[0] // s, size[1] // s) for c, s in zip(net.out_channels, net.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected
    assert all((m >= 0).all() for m in maps)


def halves(conv):
    return conv.stride == (2, 2)


@pytest.mark.parametrize(("style", "first"), [("caffe", True), ("torchvision", False)])
def test_style_says_which_convolution_halves(style, first):
    net = tiny(style=style)
    for stage in (net.layer2, net.layer3, net.layer4):
        block = stage[0]
        assert halves(block.conv1) is first and halves(block.conv2) is not first
        assert halves(block.downsample[0])
    assert not any(halves(block.conv1) or halves(block.conv2) for block in (net.layer1[0], net.layer2[1]))
    assert net.layer2[1].downsample is None and net.layer1[0].downsample is not None


@pytest.mark.parametrize("style", ["caffe", "torchvision"])
def test_the_pool_of_each_style(style):
    net = tiny(style=style, depths=(1, 1, 1, 1)).eval()
    image = torch.randn(1, 3, 64, 64)
    x = F.relu(net.bn1(net.conv1(image)))
    windows = F.pad(x, (0, 1, 0, 1), value=-torch.inf) if style == "caffe" else F.pad(x, (1, 1, 1, 1), value=-torch.inf)
    pooled = windows.unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(-1, -2))
    assert pooled.shape[2:] == (16, 16)
    torch.testing.assert_close(net(image)[0], net.layer2(net.layer1(pooled)))


@pytest.mark.parametrize("stride_on", ["conv1", "conv2"])
def test_bottleneck_is_its_formula(stride_on):
    torch.manual_seed(0)
    block = Bottleneck(6, 4, 8, 2, stride_on=stride_on, groups=2).eval()
    for norm in (block.bn1, block.bn2, block.bn3, block.downsample[1]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 6, 8, 8)
    stride1, stride2 = (2, 1) if stride_on == "conv1" else (1, 2)
    out = F.relu(block.bn1(F.conv2d(x, block.conv1.weight, stride=stride1)))
    out = F.relu(block.bn2(F.conv2d(out, block.conv2.weight, stride=stride2, padding=1, groups=2)))
    out = block.bn3(F.conv2d(out, block.conv3.weight))
    short = block.downsample[1](F.conv2d(x, block.downsample[0].weight, stride=2))
    torch.testing.assert_close(block(x), F.relu(out + short))


def test_bottleneck_keeps_its_input():
    block, x = Bottleneck(8, 4, 8).eval(), torch.randn(1, 8, 4, 4)
    before = x.clone()
    assert block.downsample is None
    block(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride_on": "conv3"}, r"stride_on: expected one of \['conv1', 'conv2'\], got 'conv3'"),
        ({"groups": 3}, "groups: expected a divisor of the 4 channels, got 3"),
        ({"mid_channels": 0}, "mid_channels: expected an integer of at least 1, got 0"),
        ({"projection": False}, "projection: expected True for 8 to 16 channels, stride 1, got False"),
    ],
)
def test_wrong_bottlenecks_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Bottleneck(**{"in_channels": 8, "mid_channels": 4, "out_channels": 16, **options})


def test_cardinality_groups_the_middle_convolution():
    net = tiny(width=16, cardinality=4, group_width=8)
    middle = net.layer2[0].conv2
    # 16 channels at width 64 are 8 a group: 2 at width 16, doubled in res3
    assert middle.groups == 4 and middle.weight.shape == (16, 4, 3, 3)
    with torch.device("meta"):
        wide = ResNet(cardinality=32, group_width=8)
    assert [stage[0].conv2.weight.shape[1] for stage in (wide.layer1, wide.layer4)] == [8, 64]


def test_res6_starts_as_the_released_code_has_it():
    torch.manual_seed(0)
    net = ResNet(depths=(1, 1, 1, 1))
    res6 = net.extras[0]
    convolutions = [res6.conv1, res6.conv2, res6.conv3, res6.downsample[0]]
    assert all(conv.weight.std().item() == pytest.approx(0.01, rel=0.05) for conv in convolutions)
    assert [conv.stride for conv in convolutions] == [(2, 2), (1, 1), (1, 1), (2, 2)]
    assert net.layer4[0].conv2.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.05)


def test_extras_are_a_chain_of_any_stages():
    stages = [ConvStage(16, 24), BottleneckStage(8, 40), ConvStage(8, 12, stride=1, momentum=0.01)]
    net = tiny(extras=stages).eval()
    assert net.out_channels == (64, 128, 256, 24, 40, 12) and net.strides == (8, 16, 32, 64, 128, 128)
    maps = net(torch.randn(1, 3, 128, 128))
    assert [m.shape[2] for m in maps] == [16, 8, 4, 2, 1, 1]
    assert net.extras[2][1][1].momentum == 0.01
    x = maps[3]
    torch.testing.assert_close(maps[4], net.extras[1](x))


def test_without_extras_there_are_three_maps():
    net = tiny(extras=()).eval()
    assert net.strides == (8, 16, 32) and len(net(torch.randn(1, 3, 64, 64))) == 3


def test_batch_norms_use_the_batch_in_training_and_are_not_frozen():
    net = tiny(momentum=0.25).train()
    image = torch.randn(2, 3, 128, 128) * 5 + 3
    first = net.conv1(image)
    net(image)
    norm = net.bn1
    torch.testing.assert_close(norm.running_mean, 0.25 * first.mean(dim=(0, 2, 3)))
    assert norm.eps == 1e-5
    assert all(p.requires_grad for p in net.parameters())
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(n.training and n.eps == 1e-5 and n.num_batches_tracked == 1 for n in norms)


def test_every_parameter_learns():
    net = tiny().train()
    sum(m.square().sum() for m in net(torch.randn(2, 3, 128, 128))).backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "pytorch"}, r"style: expected one of \['caffe', 'torchvision'\], got 'pytorch'"),
        ({"depths": (1, 1)}, r"depths: expected one number for each of 4 stages, got \(1, 1\)"),
        ({"depths": (1, 0, 1, 1)}, r"depths\[1\]: expected an integer of at least 1, got 0"),
        ({"width": 0}, "width: expected an integer of at least 1, got 0"),
        ({"cardinality": 0}, "cardinality: expected an integer of at least 1, got 0"),
        ({"width": 8, "group_width": 4}, "mid_channels: expected an integer of at least 1, got 0"),
        ({"extras": (ConvStage(8, 8, stride=0),)}, "extra stage's stride: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
