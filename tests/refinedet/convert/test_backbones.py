"""ImageNet checkpoints as backbone files, and what a detector makes of what such a file says about itself."""

from __future__ import annotations

import dataclasses
import logging
from functools import partial

import pytest
import torch

import refinedet
from refinedet.backbones import TORCHVISION_PIXELS, ResNet
from refinedet.backbones.backbone_file import Origin, read_origin, save_backbone
from refinedet.cli import main
from refinedet.convert import BACKBONES, convert_checkpoint
from refinedet.convert.backbones import trunk_state
from refinedet.engine.config import ModelConfig, RunConfig
from refinedet.engine.start import build_model, with_backbone_options
from refinedet.registry import list_models, model_entry

from ..backbones import torchvision_layouts as layouts

D50, D101, D152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
# the published file of every source, and the learned values that torchvision gives for it
PUBLISHED = {
    "vgg16_reducedfc": (layouts.vgg16_reducedfc(), None),
    "torchvision-vgg16": (layouts.vgg16(), 138_357_544),
    "caffe-resnet50": (layouts.resnet(D50), None),
    "caffe-resnet101": (layouts.resnet(D101), None),
    "caffe-resnet152": (layouts.resnet(D152), None),
    "torchvision-resnet50": (layouts.resnet(D50), 25_557_032),
    "torchvision-resnet101": (layouts.resnet(D101), 44_549_160),
    "torchvision-resnet152": (layouts.resnet(D152), 60_192_808),
    "torchvision-resnext50_32x4d": (layouts.resnet(D50, groups=32, group_width=4), 25_028_904),
    "torchvision-resnext101_32x8d": (layouts.resnet(D101, groups=32, group_width=8), 88_791_336),
    "torchvision-resnext101_64x4d": (layouts.resnet(D101, groups=64, group_width=4), 83_455_272),
    "torchvision-wide_resnet50_2": (layouts.resnet(D50, group_width=128), 68_883_240),
    "torchvision-wide_resnet101_2": (layouts.resnet(D101, group_width=128), 126_886_696),
    "pytorch-mobilenet": (layouts.mobilenet_v1(), 4_231_976),
    "pytorchcv-mobilenet_w1": (layouts.pytorchcv_mobilenet(), 4_231_976),
    "pytorchcv-mobilenet_w3d4": (layouts.pytorchcv_mobilenet(0.75), 2_585_560),
    "pytorchcv-mobilenet_wd2": (layouts.pytorchcv_mobilenet(0.5), 1_331_592),
    "pytorchcv-mobilenet_wd4": (layouts.pytorchcv_mobilenet(0.25), 470_072),
    "torchvision-mobilenet_v2": (layouts.mobilenet_v2(), 3_504_872),
    "torchvision-mobilenet_v3_large": (layouts.mobilenet_v3_large(), 5_483_032),
    "efficientnet_lite0": (layouts.efficientnet_lite0(), 4_652_008),
    "torchvision-shufflenet_v2_x0_5": (layouts.shufflenet_v2((48, 96, 192)), 1_366_792),
    "torchvision-shufflenet_v2_x1_0": (layouts.shufflenet_v2(), 2_278_604),
    "torchvision-shufflenet_v2_x1_5": (layouts.shufflenet_v2((176, 352, 704)), 3_503_624),
    "torchvision-shufflenet_v2_x2_0": (layouts.shufflenet_v2((244, 488, 976), 2048), 7_393_996),
}
TINY = {"depths": (1, 1, 1, 1), "width": 8}
# options that make the rest of a detector small
SMALL = {"head_block_width": 8, "tcb_channels": 16}


def without_memory(layout):
    """Every tensor is one number in many places."""
    return {key: torch.zeros(()).expand(shape) for key, shape in layout.items()}


@pytest.fixture
def tiny(monkeypatch):
    """A source like torchvision's ResNets, but small; the layout of its file."""
    real = BACKBONES["torchvision-resnet101"]
    build = partial(ResNet, TINY["depths"], width=TINY["width"], style="torchvision", extras=())
    options = {**real.options, "backbone_depths": TINY["depths"], "backbone_width": TINY["width"]}
    monkeypatch.setitem(BACKBONES, "torchvision-resnet101", dataclasses.replace(real, build=build, options=options))
    return layouts.resnet(**TINY)


@pytest.fixture
def converted(tiny, tmp_path):
    torch.save(layouts.tensors(tiny), tmp_path / "in.pth")
    return convert_checkpoint("torchvision-resnet101", tmp_path / "in.pth", tmp_path / "out.safetensors")


def test_every_source_is_covered():
    assert set(PUBLISHED) == set(BACKBONES)


@pytest.mark.parametrize("source", PUBLISHED)
def test_every_key_of_the_published_file_finds_its_place(source):
    layout, count = PUBLISHED[source]
    assert count is None or layouts.parameters(layout) == count
    state = trunk_state(source, without_memory(layout), "file.pth")
    left = {"fc", "module.fc", "_fc", "output", "classifier"} if "vgg" not in source else {"classifier.6"}
    kept = {key for key in layout if not key.startswith(tuple(f"{name}." for name in left))}
    assert len(state) == len(kept)
    lost = next(key for key in kept if key.endswith(".bias"))
    with pytest.raises(ValueError, match="missing|has no key"):
        trunk_state(source, without_memory({key: shape for key, shape in layout.items() if key != lost}), "file.pth")


@pytest.mark.parametrize("source", PUBLISHED)
def test_the_named_models_take_the_file_with_the_options_it_sets(source):
    """Names and shapes of the trunk are those that the detector's backbone has."""
    entry, state = BACKBONES[source], trunk_state(source, without_memory(PUBLISHED[source][0]), "file.pth")
    models = list_models(entry.models)
    assert models
    for name in models:
        options = {k: v for k, v in entry.options.items() if k in model_entry(name).options}
        assert {"pixel_mean", "pixel_std", "channel_order"} <= set(options)
        with torch.device("meta"):
            own = refinedet.create_model(name, 4, **options).backbone.state_dict()
        prefix = "trunk." if "vgg" in source else ""
        got = {prefix + key: value.shape for key, value in state.items()}
        extras = ("extras.", "conv6_")
        assert got == {key: value.shape for key, value in own.items() if not key.startswith(extras)}, name


def test_the_file_holds_the_trunk_and_its_origin(converted, tiny):
    assert read_origin(converted) == Origin(
        "torchvision-resnet101",
        {
            "backbone_style": "torchvision",
            "backbone_depths": [1, 1, 1, 1],
            "backbone_width": 8,
            "cardinality": 1,
            "group_width": 64,
            "pixel_mean": list(TORCHVISION_PIXELS["pixel_mean"]),
            "pixel_std": list(TORCHVISION_PIXELS["pixel_std"]),
            "channel_order": "rgb",
        },
    )
    published = layouts.tensors(tiny)
    net = ResNet(**TINY, style="torchvision")
    net.load_weights(converted)
    for key, value in net.state_dict().items():
        assert key.startswith("extras.") or torch.equal(value, published[key])


def test_a_detector_takes_over_what_the_weights_expect_and_says_so(converted, caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        model = refinedet.create_model("refinedet320_resnet101", 4, backbone_weights=converted, **SMALL)
    assert model.backbone.style == "torchvision" and model.config.backbone_depths == (1, 1, 1, 1)
    assert model.normalization.order == "rgb" and model.normalization.mean == TORCHVISION_PIXELS["pixel_mean"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert (
        "out.safetensors (torchvision-resnet101) sets backbone_style='torchvision', backbone_depths=(1, 1, 1, 1)"
        in (message)
    )
    assert "pixel_mean=(103.53, 116.28, 123.675)" in message and "channel_order='rgb'" in message
    assert "cardinality" not in message  # the default already
    refinedet.save_model(model, tmp_path / "m.safetensors")  # and they stay with the model
    assert refinedet.load_model(tmp_path / "m.safetensors").model.config == model.config


def test_a_run_writes_down_what_the_weights_expect(converted, caplog):
    given = {"theta": 0.9, **SMALL}
    config = RunConfig(model=ModelConfig("refinedet320_resnet101", given, backbone_weights=str(converted)))
    resolved = with_backbone_options(config)
    assert resolved.model.options == {**given, **read_origin(converted).options} and config.model.options == given
    assert len(caplog.records) == 1
    model = build_model(resolved, ["a", "b"])
    assert len(caplog.records) == 1  # said once
    assert model.backbone.style == "torchvision" and model.config.theta == 0.9
    assert with_backbone_options(RunConfig()) == RunConfig()


@pytest.mark.parametrize("name", ["efgrnet512_resnet101", "padet384_resnet101"])
def test_detectors_with_fewer_options_take_those_they_have(name, converted):
    model = refinedet.create_model(name, 4, backbone_weights=converted)
    assert (model.backbone.style, model.normalization.order) == ("torchvision", "rgb")


def test_options_that_agree_are_silent(converted, caplog):
    options = {**read_origin(converted).options, "pixel_mean": (103.53, 116.28, 123.675)}
    refinedet.create_model("refinedet320_resnet101", 4, backbone_weights=converted, **options, **SMALL)
    assert not caplog.records


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"backbone_style": "caffe"}, "backbone_style: expected 'torchvision' or nothing, as .* got 'caffe'"),
        ({"backbone_depths": (3, 4, 6, 3)}, r"backbone_depths: expected \(1, 1, 1, 1\) or .* got \(3, 4, 6, 3\)"),
        ({"channel_order": "bgr"}, "channel_order: expected 'rgb' or nothing, .* published loads unchecked"),
        ({"pixel_mean": (104, 117, 123)}, r"pixel_mean: expected \(103.53, 116.28, 123.675\) or .*torchvision-resnet"),
        ({"cardinality": 32}, "cardinality: expected 1 or nothing"),
    ],
)
def test_options_that_contradict_the_weights_are_refused(converted, option, message):
    with pytest.raises(ValueError, match=message):
        refinedet.create_model("refinedet320_resnet101", 4, backbone_weights=converted, **option, **SMALL)


def test_a_backbone_of_the_other_style_refuses_the_file(converted):
    with pytest.raises(
        ValueError, match="torchvision-resnet101 and fits a ResNet with style 'torchvision', got .*caffe"
    ):
        ResNet(**TINY, style="caffe").load_weights(converted)


def test_a_published_resnet_file_does_not_tell_its_style_and_that_is_said(tiny, tmp_path, caplog):
    torch.save(layouts.tensors(tiny), tmp_path / "in.pth")
    ResNet(**TINY, style="caffe").load_weights(tmp_path / "in.pth")
    assert "in.pth does not say whether its weights are Caffe's or torchvision's: taken as caffe" in caplog.text


@pytest.mark.parametrize("backbone", ["refinedet320_vgg16", "efgrnet320_vgg16"])
def test_vgg_files_load_into_both_trunks(backbone, tmp_path, caplog):
    state = layouts.tensors(layouts.vgg16_reducedfc())
    torch.save(state, tmp_path / "in.pth")
    file = convert_checkpoint("vgg16_reducedfc", tmp_path / "in.pth", tmp_path / "out.safetensors")
    model = refinedet.create_model(backbone, 4, backbone_weights=file)
    assert torch.equal(model.backbone.trunk[31].weight, state["31.weight"]) and not caplog.records
    with pytest.raises(ValueError, match="channel_order: expected 'bgr' or nothing"):
        refinedet.create_model(backbone, 4, backbone_weights=file, channel_order="rgb")


@pytest.mark.parametrize(
    ("source", "layout", "message"),
    [
        ("torchvision-vgg16", layouts.vgg16_reducedfc(), "is no torchvision-vgg16: expected the key 'features.0.wei"),
        ("vgg16_reducedfc", layouts.vgg16(), "is no vgg16_reducedfc: expected the key '0.weight', got features.0"),
        ("torchvision-resnet50", layouts.resnet(D101), r"unexpected: layer3.6.conv1.weight"),
        ("torchvision-resnet50", layouts.resnet(D50, groups=32, group_width=4), "shapes differ: layer1.0.conv1.weight"),
        ("torchvision-mobilenet_v2", layouts.mobilenet_v3_large(), "does not fit MobileNetV2; missing: .*unexpected"),
        (
            "pytorch-mobilenet",
            layouts.mobilenet_v2(),
            "does not fit MobileNetV1; missing: .*unexpected: features.1.conv",
        ),
        ("pytorchcv-mobilenet_wd2", layouts.pytorchcv_mobilenet(), "does not fit MobileNetV1; shapes differ"),
        ("torchvision-shufflenet_v2_x0_5", layouts.shufflenet_v2(), "does not fit ShuffleNetV2; shapes differ"),
    ],
)
def test_the_file_of_another_network_is_refused(source, layout, message):
    with pytest.raises(ValueError, match=f"file.pth.*{message}"):
        trunk_state(source, without_memory(layout), "file.pth")


def test_values_that_are_no_numbers_are_refused(tiny, tmp_path):
    state = layouts.tensors(tiny)
    state["layer2.0.bn1.weight"][3] = float("nan")
    torch.save(state, tmp_path / "in.pth")
    with pytest.raises(ValueError, match=r"in.pth: expected finite numbers, got others in layer2.0.bn1.weight$"):
        convert_checkpoint("torchvision-resnet101", tmp_path / "in.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_command_reports_what_the_file_is_for(tiny, tmp_path, capsys):
    torch.save(layouts.tensors(tiny), tmp_path / "in.pth")
    arguments = [
        "convert",
        "--from",
        "torchvision-resnet101",
        str(tmp_path / "in.pth"),
        str(tmp_path / "o.safetensors"),
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "the trunk of torchvision-resnet101, for --model.backbone_weights of efgrnet512_resnet101, padet384_" in out
    assert "options that it sets: backbone_style='torchvision', backbone_depths=(1, 1, 1, 1)" in out
    for option in ("--input_size=320", "--class_names=[a]"):
        assert main([*arguments, option]) == 1
        assert "expected nothing for torchvision-resnet101, which is a backbone" in capsys.readouterr().err
    assert main([*arguments[:-1], str(tmp_path / "o.pth")]) == 1
    assert "path: expected a file name that ends in .safetensors" in capsys.readouterr().err


def test_a_backbone_file_is_no_model(converted):
    with pytest.raises(ValueError, match="holds a backbone alone, for create_model"):
        refinedet.load_model(converted)


def test_files_of_a_later_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("refinedet.backbones.backbone_file.VERSION", 2)
    save_backbone({"a": torch.zeros(1)}, tmp_path / "b.safetensors", Origin("x", {}))
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format version 2, this package reads up to 1"):
        read_origin(tmp_path / "b.safetensors")
