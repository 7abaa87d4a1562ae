from __future__ import annotations

import dataclasses
import json

import pytest
import torch

import refinedet
from refinedet import EFGRNetConfig, NMSConfig, RefineDetConfig
from refinedet.detectors import NMS_PRESETS
from refinedet.detectors.config import DetectorConfig
from refinedet.losses import LossConfig
from refinedet.nms_config import resolve_nms
from refinedet.registry import list_models, model_entry


def test_defaults_are_the_rules_of_the_original_code():
    config = RefineDetConfig()
    loss = config.loss
    assert (loss.matching, loss.filtering, config.theta) == ("bipartite", "caffe", 0.99)
    assert (loss.arm_negative_ratio, loss.odm_negative_ratio) == (3, 3)
    assert (loss.arm_pos_iou, loss.arm_neg_iou, loss.odm_pos_iou, loss.odm_neg_iou) == (0.5,) * 4
    assert (config.clip_anchors, config.deconv_kernel, loss.min_negatives) == (False, 2, 0)
    assert config.variances == (0.1, 0.1, 0.2, 0.2)
    normalization = config.normalization()
    assert (normalization.mean, normalization.std, normalization.order) == ((104, 117, 123), (1, 1, 1), "bgr")
    nms = resolve_nms(config.nms)
    assert (nms.score_threshold, nms.iou_threshold, nms.top_k_per_class, nms.top_k) == (0.01, 0.45, 1000, None)
    assert (nms.keep_top_k, nms.method) == (500, "hard")


def test_presets():
    paper, coco = NMS_PRESETS["paper"], NMS_PRESETS["coco"]
    assert (paper.top_k_per_class, paper.top_k, paper.keep_top_k, paper.method) == (None, 400, 200, "hard")
    assert (coco.method, coco.iou_threshold, coco.min_score) == ("linear", 0.3, 0.01)


def test_nms_from_name_mapping_or_config():
    assert resolve_nms("paper") == NMS_PRESETS["paper"]
    assert resolve_nms({"preset": "paper", "keep_top_k": 7}) == NMSConfig(top_k_per_class=None, top_k=400, keep_top_k=7)
    assert resolve_nms({"iou_threshold": 0.6}) == NMSConfig(iou_threshold=0.6)
    own = NMSConfig(method="gaussian")
    assert resolve_nms(own) is own


def test_options_go_round_through_json():
    config = RefineDetConfig(
        anchor_sizes=(16, 32), anchor_max_sizes=(32, 64), anchor_ratios=((2,), (2, 3)), nms={"method": "linear"}
    )
    assert RefineDetConfig.from_options(**json.loads(json.dumps(config.to_dict()))) == config
    with_object = RefineDetConfig(nms=NMSConfig(keep_top_k=3))
    again = RefineDetConfig.from_options(**json.loads(json.dumps(with_object.to_dict())))
    assert resolve_nms(again.nms) == NMSConfig(keep_top_k=3)


def test_anchor_levels_share_or_own_their_ratios():
    shared = RefineDetConfig(anchor_sizes=(16, 32), anchor_ratios=(2, 3)).anchor_levels((8, 16))
    assert [level.ratios for level in shared] == [(2, 3), (2, 3)]
    own = RefineDetConfig(anchor_sizes=(16, 32), anchor_ratios=((2, 3), ()), anchor_max_sizes=(32, 64))
    assert [(v.ratios, v.max_size, v.step) for v in own.anchor_levels((8, 16))] == [((2, 3), 32, 8), ((), 64, 16)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matching": "best"}, r"matching: expected one of \['bipartite', 'argmax', 'none'\], got 'best'"),
        ({"filtering": "yes"}, r"filtering: expected one of \['caffe', 'paper', 'peers', 'none'\], got 'yes'"),
        ({"theta": 1.5}, "theta: expected a number from 0 to 1, got 1.5"),
        ({"arm_pos_iou": "high"}, "arm_pos_iou: expected a number from 0 to 1, got 'high'"),
        ({"odm_neg_iou": 0.7}, "odm_neg_iou: expected at most odm_pos_iou = 0.5, got 0.7"),
        ({"input_size": 320.5}, "input_size: expected an integer of at least 1, got 320.5"),
        ({"arm_negative_ratio": -1}, "arm_negative_ratio: expected a number from 0 to 1000000.0, got -1"),
        ({"odm_negative_ratio": "some"}, "odm_negative_ratio: expected a number or 'all', got 'some'"),
        (
            {"negative_ratio": 3, "odm_negative_ratio": "all"},
            "negative_ratio: expected nothing beside odm_negative_ratio, as it sets both stages, got 3",
        ),
        ({"min_negatives": -1}, "min_negatives: expected an integer of at least 0, got -1"),
        ({"variances": (0.1, 0.2)}, r"variances: expected 4 positive numbers, got \(0.1, 0.2\)"),
        ({"pixel_mean": (1, 2)}, r"mean: expected 3 finite numbers, got \(1, 2\)"),
        ({"channel_order": "rbg"}, r"channel_order: expected one of \['bgr', 'rgb'\], got 'rbg'"),
        ({"anchor_sizes": (0, 1, 2, 3)}, "anchor_sizes: expected positive numbers, got"),
        ({"anchor_max_sizes": (32,)}, r"anchor_max_sizes: expected one for each of 4 levels, got \(32,\)"),
        ({"anchor_ratios": ((2,), (3,))}, r"anchor_ratios: expected one for each of 4 levels, got \(\(2,\), \(3,\)\)"),
        ({"nms": "fast"}, r"nms: expected one of \['code', 'paper', 'coco', 'padet', 'efgrnet'\], got 'fast'"),
        ({"nms": {"iou": 0.5}}, r"nms: unknown fields \['iou'\]; expected some of \['score_threshold'"),
        ({"nms": {"keep_top_k": 0}}, "nms keep_top_k: expected an integer of at least 1, got 0"),
        ({"nms": {"keep_top_k": None}}, "nms keep_top_k: expected an integer of at least 1, got None"),
        ({"nms": {"iou_threshold": 2}}, "nms iou_threshold: expected a number from 0 to 1, got 2"),
        ({"nms": {"method": "soft"}}, "nms method: expected one of"),
        ({"nms": {"sigma": 0}}, "nms sigma: expected a positive number, got 0"),
        ({"tcb_norm": "layer"}, "tcb_norm: expected one of"),
        ({"deconv_kernel": 3}, "deconv_kernel: expected one of"),
        ({"head_std": -1}, "head_std: expected a number of at least 0 or None, got -1"),
        ({"tcb_channels": 0}, "tcb_channels: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RefineDetConfig.from_options(**options)


def test_options_of_the_loss_stand_beside_the_others_outside_python():
    config = RefineDetConfig.from_options(matching="argmax", box_loss="giou", theta=0.5)
    assert config.loss == LossConfig(matching="argmax", box_loss="giou") and config.theta == 0.5
    changed = config.with_options(box_loss="smooth_l1", tcb_channels=8)
    assert (changed.loss, changed.tcb_channels) == (LossConfig(matching="argmax"), 8)
    own = {field.name for field in dataclasses.fields(config)} - {"loss"}
    rules = {field.name for field in dataclasses.fields(LossConfig)}
    assert not own & rules and set(config.to_dict()) == own | rules


def test_the_loss_is_made_of_the_configs_own():
    model = refinedet.create_model("refinedet192_small", 4, filtering="paper", class_weights=[1, 2, 3], theta=0.9)
    assert model.criterion.config == model.config.loss and model.criterion.theta == 0.9
    assert model.spec.options["filtering"] == "paper" and "loss" not in model.spec.options
    with pytest.raises(ValueError, match="has no option 'loss'"):
        refinedet.create_model("refinedet192_small", 4, loss={"filtering": "paper"})


def test_options_are_free_or_belong_to_the_weights():
    """A new option is the weights' unless it says otherwise, in any detector."""
    rules = {field.name for field in dataclasses.fields(LossConfig)}
    expected = {"input_size", "theta", "nms", *rules}
    assert DetectorConfig.free_options() == expected
    assert RefineDetConfig.free_options() == expected | {"neck_std", "head_std"}
    assert EFGRNetConfig.free_options() == expected | {
        "guide_init",
        "norm_momentum",
        "head_init",
        "head_std",
        "peer_compat",
    }
    for name in list_models():
        entry = model_entry(name)
        assert entry.config.free_options() <= set(entry.options)


@pytest.mark.parametrize("name", ["refinedet192_small", "efgrnet192_small", "padet192_small"])
def test_free_options_leave_the_networks_weights_as_they_are(name):
    other = {
        "input_size": 256, "theta": 0.5, "nms": "coco", "matching": "none", "filtering": "none", "head_std": 0.5,
        "head_init": "kaiming", "peer_compat": False, "box_loss": "giou", "cls_loss": "focal", "neck_std": 0.5,
    }  # fmt: skip
    if name.startswith("padet"):
        other["head_init"] = "fan_out"
    options = {key: value for key, value in other.items() if key in model_entry(name).options}
    assert set(options) <= model_entry(name).config.free_options()
    with torch.device("meta"):
        one, two = (refinedet.create_model(name, 4, **changes).state_dict() for changes in ({}, options))
    assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in two.items()}
