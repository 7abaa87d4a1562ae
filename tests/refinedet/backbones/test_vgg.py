from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.backbones import VGG16
from refinedet.backbones.vgg_weights import CAFFE_MEAN_RGB, TORCHVISION_MEAN, TORCHVISION_STD

# (index in torchvision's `features`, in channels, out channels): the public layout, written out
CONVOLUTIONS = [
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
    (24, 512, 512),
    (26, 512, 512),
    (28, 512, 512),
]


def convolutions(prefix=""):
    state = {}
    for index, inputs, outputs in CONVOLUTIONS:
        state[f"{prefix}{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
        state[f"{prefix}{index}.bias"] = torch.randn(outputs) * 0.01
    return state


@pytest.fixture(scope="module")
def reduced():
    """A state dict with the names and shapes of the public vgg16_reducedfc file."""
    torch.manual_seed(0)
    fc = {
        "31.weight": torch.randn(1024, 512, 3, 3) * 0.01,
        "31.bias": torch.randn(1024) * 0.01,
        "33.weight": torch.randn(1024, 1024, 1, 1) * 0.01,
        "33.bias": torch.randn(1024) * 0.01,
    }
    return {**convolutions(), **fc}


@pytest.fixture(scope="module")
def torchvision():
    """A state dict with the names and shapes of torchvision's VGG-16."""
    torch.manual_seed(0)
    numbers = torch.arange(4096.0 + 25088.0)
    classifier = {
        # entry (i, j) is i + j: it tells where it came from, and the rows share their memory
        "classifier.0.weight": numbers.as_strided((4096, 25088), (1, 1)),
        "classifier.0.bias": numbers[:4096],
        "classifier.3.weight": numbers.as_strided((4096, 4096), (1, 1)),
        "classifier.3.bias": numbers[:4096] + 0.5,
        "classifier.6.weight": torch.zeros(1, 1).expand(1000, 4096),
        "classifier.6.bias": torch.zeros(1000),
    }
    return {**convolutions("features."), **classifier}


@pytest.fixture(scope="module")
def vgg():
    return VGG16().eval()


def test_parameter_counts_of_trunk_and_extras(vgg):
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in vgg.named_children()}
    assert count["trunk"] == 20_483_904
    assert count["conv6_1"] + count["conv6_2"] == 1_442_560


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_maps_have_the_promised_channels_and_strides(vgg, size):
    with torch.no_grad():
        maps = vgg(torch.randn(1, 3, *size))
    expected = [(1, c, size[0] // s, size[1] // s) for c, s in zip(vgg.out_channels, vgg.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


def test_maps_come_after_their_relu(vgg):
    with torch.no_grad():
        assert all((m >= 0).all() for m in vgg(torch.randn(1, 3, 64, 64) * 50))


def test_pool5_halves_and_fc6_is_dilated_by_three(vgg):
    pool5, fc6 = vgg.trunk[30], vgg.trunk[31]
    assert (pool5.kernel_size, pool5.stride) == (2, 2)
    assert fc6.dilation == (3, 3) and fc6.padding == (3, 3) and fc6.kernel_size == (3, 3)


def test_loads_the_reduced_file(vgg, reduced, tmp_path):
    torch.save(reduced, tmp_path / "vgg16_reducedfc.pth")
    before = vgg.conv6_1.weight.clone()
    vgg.load_weights(tmp_path / "vgg16_reducedfc.pth")
    for key, value in reduced.items():
        assert torch.equal(vgg.trunk.state_dict()[key], value)
    assert torch.equal(vgg.conv6_1.weight, before)


def test_loads_torchvision_and_subsamples_the_classifier(vgg, torchvision, tmp_path):
    torch.save(torchvision, tmp_path / "vgg16.pth")
    vgg.load_weights(tmp_path / "vgg16.pth")
    fc6, fc7 = vgg.trunk[31], vgg.trunk[33]
    output, channel, row, column = 17, 300, 1, 2
    tap = channel * 49 + (3 * row) * 7 + 3 * column
    assert fc6.weight[output, channel, row, column] == 4 * output + tap
    assert fc6.bias[output] == 4 * output
    assert fc7.weight[output, channel, 0, 0] == 4 * output + 4 * channel
    assert fc7.bias[output] == 4 * output + 0.5
    assert torch.equal(vgg.trunk[28].weight, torchvision["features.28.weight"])


def test_torchvision_weights_see_their_own_kind_of_picture(vgg, torchvision, tmp_path):
    torch.save(torchvision, tmp_path / "vgg16.pth")
    vgg.load_weights(tmp_path / "vgg16.pth")
    rgb = torch.rand(1, 3, 16, 16) * 255
    theirs = (rgb - torch.tensor(TORCHVISION_MEAN).view(1, 3, 1, 1)) / torch.tensor(TORCHVISION_STD).view(1, 3, 1, 1)
    ours = (rgb - torch.tensor(CAFFE_MEAN_RGB).view(1, 3, 1, 1)).flip(1)
    expected = F.conv2d(theirs, torchvision["features.0.weight"], torchvision["features.0.bias"])
    first = vgg.trunk[0]
    torch.testing.assert_close(F.conv2d(ours, first.weight, first.bias), expected, rtol=1e-3, atol=1e-3)


def test_loads_its_own_state_dict(vgg, tmp_path):
    torch.save(vgg.state_dict(), tmp_path / "own.pth")
    other = VGG16()
    other.load_weights(tmp_path / "own.pth")
    assert all(torch.equal(a, b) for a, b in zip(vgg.parameters(), other.parameters(), strict=True))


def test_mismatches_name_the_keys(vgg, reduced, tmp_path):
    wrong = {key: value for key, value in reduced.items() if key != "31.bias"}
    wrong["99.weight"] = torch.zeros(1)
    wrong["0.weight"] = torch.zeros(64, 1, 3, 3)
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(ValueError) as error:
        vgg.load_weights(tmp_path / "wrong.pth")
    for part in ("missing: 31.bias", "unexpected: 99.weight", "0.weight (expected (64, 3, 3, 3), got (64, 1, 3, 3))"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.0.weight": None}, "has no key 'classifier.0.weight'"),
        ({"classifier.3.weight": torch.zeros(10, 4096)}, r"classifier.3.weight .*expected shape \(4096, 4096\), got"),
        ({"features.28.weight": None}, "missing: 28.weight"),
        ({"features.1.running_mean": torch.zeros(64)}, "unexpected: 1.running_mean"),
    ],
)
def test_a_changed_torchvision_file_names_the_key(vgg, torchvision, tmp_path, change, message):
    wrong = {key: value for key, value in {**torchvision, **change}.items() if value is not None}
    torch.save(wrong, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=message):
        vgg.load_weights(tmp_path / "wrong.pth")


def test_other_networks_are_told_apart(vgg, tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="is no VGG-16 checkpoint: .*got layer1.0.conv1.weight"):
        vgg.load_weights(tmp_path / "resnet.pth")
