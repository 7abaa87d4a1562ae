from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import refinedet
from refinedet.backbones import Res2NetLite
from refinedet.backbones.backbone_file import Origin, save_backbone
from refinedet.classification.classifier import Classifier
from refinedet.classification.pretrain import expected_options
from refinedet.structures import Normalization

TINY_RESNET = {"backbone_depths": (1, 1, 1, 1), "backbone_width": 8}
THIN = {"backbone_width": 0.25, "tcb_channels": 16}
# a detector of every kind of backbone, as small as it gets
MODELS = {
    "refinedet192_small": {"tcb_channels": 16},
    "refinedetlite320_res2netlite72": {"width": 8, "mid_div": 2, "head_channels": 16, "head_inner": 8},
    "refinedet320_resnet101": {**TINY_RESNET, "tcb_channels": 16, "head_block_width": 8},
    "refinedet320_mobilenet_v1": THIN,
    "refinedet320_mobilenet_v2": THIN,
    "refinedet320_mobilenet_v3": THIN,
    "refinedet320_efficientnet_lite0": THIN,
    "refinedet320_shufflenet_v2": {"backbone_channels": (8, 16, 32, 64, 64), "tcb_channels": 16},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_trunk_goes_into_the_detector(name, tmp_path):
    torch.manual_seed(0)
    detector = refinedet.create_model(name, 2, **MODELS[name])
    classifier = Classifier(detector.backbone, 5, detector.normalization)
    logits = classifier(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert logits.shape == (2, 5)
    logits.sum().backward()
    unused = {key for key, p in classifier.named_parameters() if p.grad is None}
    assert unused == {key for key, p in classifier.named_parameters() if not p.requires_grad}
    state = detector.backbone.trunk_state()
    path = save_backbone(state, tmp_path / "b.safetensors", Origin("a test", expected_options(detector.spec.options)))
    torch.manual_seed(1)
    again = refinedet.create_model(name, 4, **MODELS[name])
    before = {key: value.clone() for key, value in again.backbone.state_dict().items()}
    own = {key for key in before if key.startswith(again.backbone.own_stages)}
    loaded = refinedet.create_model(name, 4, backbone_weights=path, **MODELS[name]).backbone
    assert {key.removeprefix("trunk.") for key in before.keys() - own} == set(state)
    assert {f"backbone.{key}" for key in own if key.endswith(("weight", "bias"))} == unused
    for key, value in loaded.state_dict().items():
        if key not in own:
            assert torch.equal(value, state[key.removeprefix("trunk.")]), key


def test_weights_say_how_they_read_pixels_and_which_network_they_are(tmp_path):
    detector = refinedet.create_model("refinedet320_resnet101", 2, **MODELS["refinedet320_resnet101"])
    options = expected_options(detector.spec.options)
    assert options["pixel_mean"] == [104, 117, 123] and options["backbone_style"] == "caffe"
    assert "input_size" not in options and "tcb_channels" not in options
    path = save_backbone(detector.backbone.trunk_state(), tmp_path / "b.safetensors", Origin("a test", options))
    with pytest.raises(ValueError, match="channel_order: expected 'bgr' or nothing"):
        refinedet.create_model("refinedet320_resnet101", 4, backbone_weights=path, channel_order="rgb")


@pytest.mark.parametrize("name", ["refinedet320_vgg16", "efgrnet320_vgg16", "padet384_vgg16"])
def test_the_trunk_of_vgg_is_what_the_public_file_has(name):
    with torch.device("meta"):
        backbone = refinedet.create_model(name, 2).backbone
        classifier = Classifier(backbone, 10, Normalization())
        assert classifier(torch.empty(2, 3, 64, 64)).shape == (2, 10)
    assert set(backbone.trunk_state()) == set(backbone.trunk.state_dict()) and "0.weight" in backbone.trunk_state()


def test_stage_4_of_res2netlite():
    """The paper's table 1 at 224 pixels: the trunk of 4.788 million parameters, the mean of 7 x 7, 1000 classes."""
    with torch.device("meta"):
        classifier = Classifier(Res2NetLite(), 1000, Normalization())
        with FlopCounterMode(display=False) as counter:
            assert classifier(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    trained = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
    assert trained == pytest.approx(4.788e6 + 1152 * 1000 + 1000, abs=500)
    assert counter.get_total_flops() / 2e9 == pytest.approx(0.654 + 0.001152, abs=1e-3)
