from __future__ import annotations

import pytest
import torch

from refinedet.backbones import TORCHVISION_PIXELS, MobileNetV2, MobileNetV3, ResNet, ShuffleNetV2
from refinedet.backbones.torchvision_weights import convert_torchvision
from refinedet.structures import Normalization

from . import torchvision_layouts as layouts

# the backbone, the layout of the file, and the learned values of the published classifier
NETWORKS = {
    "resnet101": (lambda: ResNet(style="torchvision"), layouts.resnet(), 44_549_160),
    "resnext101_32x8d": (
        lambda: ResNet(style="torchvision", cardinality=32, group_width=8),
        layouts.resnet(groups=32, group_width=8),
        88_791_336,
    ),
    "mobilenet_v2": (MobileNetV2, layouts.mobilenet_v2(), 3_504_872),
    "mobilenet_v3_large": (MobileNetV3, layouts.mobilenet_v3_large(), 5_483_032),
    "shufflenet_v2_x1_0": (ShuffleNetV2, layouts.shufflenet_v2(), 2_278_604),
}
TINY = {"depths": (1, 1, 1, 1), "width": 4}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_written_layout_is_the_published_network(name):
    _, layout, count = NETWORKS[name]
    assert layouts.parameters(layout) == count


@pytest.mark.parametrize("name", NETWORKS)
def test_trunk_has_the_names_shapes_and_order_of_torchvision(name):
    build, layout, _ = NETWORKS[name]
    with torch.device("meta"):
        net = build()
    trunk = {key: tuple(value.shape) for key, value in net.state_dict().items() if not key.startswith("extras.")}
    expected = {key: shape for key, shape in layout.items() if key not in net.classifier_keys}
    assert trunk == expected
    assert len(layout) - len(expected) == len(net.classifier_keys)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0"])
def test_loads_the_whole_trunk_and_leaves_the_extra_stages(name, tmp_path):
    build, layout, _ = NETWORKS[name]
    check_loads(build(), layout, tmp_path)


def test_loads_a_small_resnet(tmp_path):
    check_loads(ResNet(**TINY), layouts.resnet(**TINY), tmp_path)


def check_loads(net, layout, folder):
    file = layouts.tensors(layout)
    torch.save(file, folder / "imagenet.pth")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_weights(folder / "imagenet.pth")
    after = net.state_dict()
    for key, value in after.items():
        assert torch.equal(value, before[key] if key.startswith("extras.") else file[key]), key


def test_a_file_without_the_classifier_loads_too(tmp_path):
    file = layouts.tensors(layouts.resnet(**TINY))
    del file["fc.weight"], file["fc.bias"]
    torch.save({"state_dict": file}, tmp_path / "trunk.pth")
    ResNet(**TINY).load_weights(tmp_path / "trunk.pth")


def test_old_files_have_no_batch_counters(tmp_path):
    file = layouts.tensors(layouts.resnet(**TINY))
    old = {key: value for key, value in file.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    net = ResNet(**TINY)
    net.bn1.num_batches_tracked += 3
    net.load_weights(tmp_path / "old.pth")
    assert net.bn1.num_batches_tracked == 0
    assert torch.equal(net.layer2[0].bn3.running_var, file["layer2.0.bn3.running_var"])


def test_a_counter_without_its_norm_is_missing():
    net = ResNet(**TINY)
    file = layouts.tensors(layouts.resnet(**TINY))
    lost = {key: value for key, value in file.items() if not key.startswith("bn1.")}
    converted = convert_torchvision(lost, net.state_dict(), classifier=net.classifier_keys, kept="extras.")
    assert not any(key.startswith("bn1.") for key in converted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer3.0.conv2.weight": None}, "missing: layer3.0.conv2.weight$"),
        ({"layer1.0.bn1.running_var": None}, "missing: layer1.0.bn1.running_var$"),
        ({"layer4.1.conv1.weight": torch.zeros(1)}, "unexpected: layer4.1.conv1.weight$"),
        ({"classifier.weight": torch.zeros(1)}, "unexpected: classifier.weight$"),
        (
            {"conv1.weight": torch.zeros(4, 1, 7, 7)},
            r"shapes differ: conv1.weight \(expected \(4, 3, 7, 7\), got \(4, 1, 7, 7\)\)$",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path, change, message):
    file = {**layouts.tensors(layouts.resnet(**TINY)), **change}
    torch.save({key: value for key, value in file.items() if value is not None}, tmp_path / "wrong.pth")
    net = ResNet(**TINY)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="wrong.pth does not fit ResNet; " + message):
        net.load_weights(tmp_path / "wrong.pth")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(("name", "other"), [("mobilenet_v2", "mobilenet_v3_large"), ("mobilenet_v2", "resnet101")])
def test_the_file_of_another_network_is_refused(name, other, tmp_path):
    layout = NETWORKS[other][1]
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in layout.items()}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not fit MobileNetV2; missing: .*; unexpected: "):
        NETWORKS[name][0]().load_weights(tmp_path / "other.pth")


def test_deeper_and_grouped_networks_are_told_apart(tmp_path):
    torch.save(layouts.tensors(layouts.resnet((1, 1, 2, 1), 4)), tmp_path / "deeper.pth")
    with pytest.raises(ValueError, match="unexpected: layer3.1.conv1.weight"):
        ResNet(**TINY).load_weights(tmp_path / "deeper.pth")
    torch.save(layouts.tensors(layouts.resnet((1, 1, 1, 1), 4, groups=2, group_width=32)), tmp_path / "grouped.pth")
    with pytest.raises(ValueError, match=r"shapes differ: layer1.0.conv2.weight \(expected \(4, 4, 3, 3\)"):
        ResNet(**TINY).load_weights(tmp_path / "grouped.pth")


@pytest.mark.parametrize("build", [lambda: ResNet(**TINY), MobileNetV2, MobileNetV3, ShuffleNetV2])
def test_own_state_dict_goes_round(build, tmp_path):
    net, other = build(), build()
    torch.save(net.state_dict(), tmp_path / "own.pth")
    other.load_weights(tmp_path / "own.pth")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    partial = net.state_dict()
    key = next(name for name in partial if name.startswith("extras."))
    del partial[key]
    torch.save(partial, tmp_path / "partial.pth")
    with pytest.raises(ValueError, match=f"missing: {key}"):
        other.load_weights(tmp_path / "partial.pth")


def test_pixels_are_torchvisions():
    normalization = Normalization(
        TORCHVISION_PIXELS["pixel_mean"], TORCHVISION_PIXELS["pixel_std"], TORCHVISION_PIXELS["channel_order"]
    )
    # (mean, std) of R, G and B for pixels in 0..1
    rgb = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]
    got = [(mean / 255, std / 255) for mean, std in zip(normalization.mean[::-1], normalization.std[::-1], strict=True)]
    assert normalization.order == "rgb"
    assert [pytest.approx(pair) for pair in rgb] == got
