from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.backbones import ConvStage, MobileNetV1, MobileNetV2, MobileNetV3
from refinedet.backbones.layers import make_divisible
from refinedet.backbones.mobilenet import InvertedResidual, InvertedResidualV3, SqueezeExcite, hard_swish

# trunk parameters: of the published classifiers less the layers behind the last map
NETWORKS = [
    (MobileNetV1, {}, (256, 512, 1024), 4_231_976 - 1_025_000),
    (MobileNetV2, {}, (192, 576, 1280), 3_504_872 - 1_281_000),
    (MobileNetV2, {"taps": "block"}, (32, 96, 1280), 3_504_872 - 1_281_000),
    (MobileNetV3, {}, (240, 672, 960), 5_483_032 - 1_230_080 - 1_281_000),
    (MobileNetV3, {"taps": "block"}, (40, 112, 960), 5_483_032 - 1_230_080 - 1_281_000),
]


@pytest.mark.parametrize(("kind", "options", "channels", "parameters"), NETWORKS)
def test_maps_and_parameters(kind, options, channels, parameters):
    with torch.device("meta"):
        net = kind(**options)
        maps = net(torch.zeros(1, 3, 320, 256))
    trunk = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("extras."))
    assert trunk == parameters
    assert net.out_channels == (*channels, 512) and net.strides == (8, 16, 32, 64)
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 320 // s, 256 // s) for c, s in zip(net.out_channels, net.strides, strict=True)
    ]


@pytest.mark.parametrize("kind", [MobileNetV1, MobileNetV2, MobileNetV3])
@pytest.mark.parametrize("width", [0.25, 1.4])
def test_other_widths(kind, width):
    with torch.device("meta"):
        net = kind(width)
        maps = net(torch.zeros(1, 3, 128, 128))
    assert [m.shape[1] for m in maps] == list(net.out_channels)
    assert all(channels % 8 == 0 for channels in net.out_channels)


def test_width_of_the_last_layer_of_v2_does_not_shrink():
    with torch.device("meta"):
        assert MobileNetV2(0.5).out_channels[2] == 1280 and MobileNetV2(1.4).out_channels[2] == 1792


@pytest.mark.parametrize("taps", ["expansion", "block"])
@pytest.mark.parametrize(("kind", "indices"), [(MobileNetV2, (7, 14)), (MobileNetV3, (7, 13))])
def test_maps_are_taken_where_the_next_block_halves(kind, indices, taps):
    torch.manual_seed(0)
    net = kind(0.25, taps=taps).eval()
    image = torch.randn(1, 3, 64, 64)
    maps = net(image)
    x, expected = net.features[0](image), []
    for index, block in enumerate(net.features[1:-1], start=1):
        wide, out = block(x)
        assert (out.shape[2] < x.shape[2]) == (index in (2, 4, *indices))
        if index in indices:
            expected.append(wide if taps == "expansion" else x)
        x = out
    expected.append(net.features[-1](x))
    for got, want in zip(maps, expected, strict=False):
        torch.testing.assert_close(got, want)


def test_expanded_maps_of_v2_are_bounded():
    net = MobileNetV2(0.25).train()
    maps = net(torch.randn(2, 3, 128, 128) * 100)
    assert all(m.min() >= 0 and m.max() <= 6 for m in maps[:3])


@pytest.mark.parametrize("finest", [8, 16, 32])
def test_finest_stride(finest):
    stages = (ConvStage(8, 16), ConvStage(8, 24))
    net = MobileNetV1(0.25, extras=stages, finest_stride=finest).eval()
    assert net.strides == tuple(s for s in (8, 16, 32, 64, 128) if s >= finest)
    maps = net(torch.randn(1, 3, 320, 320))
    assert [m.shape[2] for m in maps] == [side for side in (40, 20, 10, 5, 3) if side <= 320 // finest]
    assert [m.shape[1] for m in maps] == list(net.out_channels)


def with_statistics(module):
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return module.eval()


@pytest.mark.parametrize(("outputs", "stride"), [(8, 1), (8, 2), (16, 1)])
def test_inverted_residual_is_its_formula(outputs, stride):
    torch.manual_seed(0)
    block = with_statistics(InvertedResidual(8, outputs, stride, 6))
    x = torch.randn(2, 8, 6, 6)
    expand, depthwise, project, norm = block.conv
    wide = expand[1](F.conv2d(x, expand[0].weight)).clamp(0, 6)
    out = depthwise[1](F.conv2d(wide, depthwise[0].weight, stride=stride, padding=1, groups=48)).clamp(0, 6)
    out = norm(F.conv2d(out, project.weight))
    got_wide, got = block(x)
    torch.testing.assert_close(got_wide, wide)
    torch.testing.assert_close(got, out + x if outputs == 8 and stride == 1 else out)


def test_inverted_residual_of_v3_is_its_formula():
    torch.manual_seed(0)
    block = with_statistics(InvertedResidualV3(16, 48, 16, 5, 1, excite=True, activation=hard_swish))
    x = torch.randn(2, 16, 6, 6)
    expand, depthwise, excite, project = block.block
    wide = F.hardswish(expand[1](F.conv2d(x, expand[0].weight)))
    out = F.hardswish(depthwise[1](F.conv2d(wide, depthwise[0].weight, padding=2, groups=48)))
    squeezed = F.relu(excite.fc1(out.mean(dim=(2, 3), keepdim=True)))
    out = out * (F.relu6(excite.fc2(squeezed) + 3) / 6)
    out = project[1](F.conv2d(out, project[0].weight))
    torch.testing.assert_close(block(x)[1], x + out)
    assert (expand[1].eps, expand[1].momentum) == (1e-3, 0.01)


@pytest.mark.parametrize(("channels", "squeezed"), [(72, 24), (120, 32), (480, 120), (672, 168), (960, 240)])
def test_squeezed_channels(channels, squeezed):
    assert SqueezeExcite(channels).fc1.out_channels == squeezed


@pytest.mark.parametrize(
    ("channels", "expected"), [(32, 32), (32 * 0.35, 16), (24 * 0.5, 16), (16 * 0.25, 8), (24 * 1.4, 32), (18, 24)]
)
def test_channels_become_multiples_of_eight(channels, expected):
    assert make_divisible(channels) == expected


@pytest.mark.parametrize("kind", [MobileNetV1, MobileNetV2, MobileNetV3])
def test_every_parameter_learns(kind):
    torch.manual_seed(0)
    net = kind(0.25).train()
    maps = net(torch.randn(2, 3, 128, 128))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MobileNetV1(0), "width: expected a positive number, got 0"),
        (lambda: MobileNetV2(-1.0), "width: expected a positive number, got -1.0"),
        (lambda: MobileNetV3(True), "width: expected a positive number, got True"),
        (lambda: MobileNetV2(taps="input"), r"taps: expected one of \['expansion', 'block'\], got 'input'"),
        (lambda: MobileNetV1(finest_stride=4), r"finest_stride: expected one of \[8, 16, 32, 64\], got 4"),
    ],
)
def test_wrong_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
