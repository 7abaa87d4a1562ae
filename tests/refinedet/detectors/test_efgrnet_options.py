"""EFGRNet's ablations, training rules and configuration files."""

from __future__ import annotations

import pytest
import torch

import refinedet
import refinedet_ext as rx
from refinedet import EFGRNetConfig
from refinedet.config_files import list_configs, load_config
from refinedet.engine.config import OptimConfig
from refinedet.engine.optim import lr_factor
from refinedet.nms_config import resolve_nms

from .efgrnet_models import on_meta, tiny
from .test_refinedet import make_batch

ABLATIONS = {
    "ssd": {"enrichment": False, "cascade": False},
    "enrichment": {"cascade": False},
    "cascade": {"enrichment": False},
    "mscf_1": {"cascade": False, "mscf_dilations": (1,)},
    "mscf_1_2": {"cascade": False, "mscf_dilations": (1, 2)},
    "fgrm_dilated": {"enrichment": False, "offset_source": "dilated"},
    "fgrm_own": {"enrichment": False, "offset_source": "own"},
    "fgrm_box": {"enrichment": False, "offset_source": "box"},
    "fgrm_size": {"enrichment": False, "offset_source": "size"},
}


def test_defaults_are_those_of_the_released_code():
    config = EFGRNetConfig()
    assert (config.anchor_sizes, config.clip_anchors) == ((30, 64, 128, 256), True)
    assert (config.offset_source, config.offset_act, config.objectness) == ("position", True, True)
    assert config.fgrm_dilations == (5, 4, 3, 2) and config.mscf_dilations == (1, 2, 4)
    loss = config.loss
    assert (loss.matching, loss.filtering, loss.empty_batch_negatives) == ("bipartite", "caffe", 0)
    nms = resolve_nms(config.nms)
    assert (nms.score_threshold, nms.iou_threshold, nms.method, nms.keep_per_class) == (0.01, 0.45, "hard", 50)
    assert nms.top_k_per_class is None


def test_peer_compat_is_three_rules_at_once():
    config = EFGRNetConfig(peer_compat=True)
    for loss in (config.loss, tiny(peer_compat=True).criterion.config):
        assert (loss.matching, loss.filtering, loss.empty_batch_negatives) == ("argmax", "peers", 45)
    assert EFGRNetConfig.from_options(**config.to_dict()) == config


def test_peer_compat_is_taken_back_with_its_rules():
    compatible = EFGRNetConfig().with_options(peer_compat=True)
    back = compatible.with_options(peer_compat=False)
    assert back == EFGRNetConfig() and compatible.with_options(theta=0.9).loss == compatible.loss
    own = compatible.with_options(peer_compat=False, filtering="paper")
    assert (own.loss.matching, own.loss.filtering) == ("bipartite", "paper")
    for config, options in ((compatible, {}), (EFGRNetConfig(), {"peer_compat": True})):
        with pytest.raises(ValueError, match="matching: expected 'argmax' or nothing beside peer_compat, got 'bipart"):
            config.with_options(**options, matching="bipartite")


@pytest.mark.parametrize("options", [*ABLATIONS.values(), {"offset_act": False}, {"objectness": False}])
def test_every_ablation_trains_and_detects(options):
    model = tiny(**options).train()
    batch = make_batch((2, 0, 3))
    outputs = model(batch.images)
    losses = model.loss(outputs, batch)
    (losses["total"] + sum(output.square().mean() for output in outputs[:4])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    with torch.no_grad():
        assert model.eval()(batch.images).count.shape == (3,)


def test_what_an_ablation_leaves_out():
    ssd = tiny(enrichment=False, cascade=False)
    assert ssd.enrichment is None and ssd.arm is None and not list(ssd.fgrm.parameters())
    assert len(tiny(mscf_dilations=(1, 2)).enrichment.mscf.branches) == 2
    sources = {"position": 6, "size": 6, "box": 12}
    for source, channels in sources.items():
        assert tiny(offset_source=source).fgrm[0].offset[0].in_channels == channels
    assert tiny(offset_source="dilated").fgrm[0].offset is None
    own = tiny(offset_source="own").fgrm[0].offset
    assert own.in_channels == 16 and own.dilation == (5, 5) and not own.weight.any()


def test_vgg_without_the_enrichment_has_ssds_norm():
    with_it, without = on_meta("efgrnet320_vgg16", 21), on_meta("efgrnet320_vgg16", 21, enrichment=False)
    assert [type(norm).__name__ for norm in with_it.norms] == ["BatchNorm2d", "BatchNorm2d", "Identity", "Identity"]
    assert [type(norm).__name__ for norm in without.norms] == ["L2Norm", "Identity", "Identity", "Identity"]
    assert without.norms[0].scale == 20


def test_a_single_stage_learns_and_detects_from_the_tiled_anchors():
    model = tiny(cascade=False)
    batch = make_batch((2, 1))
    outputs = model.train()(batch.images)
    losses = model.loss(outputs, batch)
    assert losses["arm_cls"] == losses["arm_loc"] == losses["arm_positives"] == losses["filtered"] == 0
    assert losses["odm_positives"] > 0 and losses["total"] == losses["odm_cls"] + losses["odm_loc"]
    outputs = type(outputs)(*(t.detach() for t in outputs))
    logits = torch.zeros_like(outputs.odm_logits)
    logits[..., 0] = 10
    logits[0, 100] = torch.tensor([0.0, 0.0, 8.0, 0.0])
    found = model.detect(outputs._replace(odm_logits=logits))
    assert found.count.tolist() == [1, 0] and found.labels[0, 0] == 2
    box = rx.decode_boxes(outputs.odm_deltas[0, 100], outputs.anchors[100], (0.1, 0.1, 0.2, 0.2))
    torch.testing.assert_close(found.boxes[0, 0], box)


def test_heads_start_as_asked():
    for options, deviation in (({}, 1 / (3 * 16 * 9) ** 0.5), ({"head_init": "kaiming"}, (2 / (12 * 9)) ** 0.5)):
        weight = tiny(**options).odm.cls[0].weight  # 16 to 12 channels; U(-1/sqrt(fan in), 1/sqrt(fan in)) by default
        assert weight.std().item() == pytest.approx(deviation, rel=0.1)
    assert tiny(head_std=0.01).arm.loc[0].weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset_source": "shape"}, r"offset_source: expected one of \['position', 'size', 'box', 'own', 'dilated'\]"),
        ({"head_init": "xavier"}, r"head_init: expected one of \['torch', 'kaiming'\], got 'xavier'"),
        ({"head_std": -1}, "head_std: expected a number of at least 0 or None, got -1"),
        ({"mscf_dilations": ()}, r"mscf_dilations: expected one or more integers, got \(\)"),
        ({"mscf_dilations": 2}, "mscf_dilations: expected one or more integers, got 2"),
        ({"mscf_dilations": (0,)}, "mscf_dilations: expected an integer of at least 1, got 0"),
        ({"fgrm_dilations": (5, 4)}, r"fgrm_dilations: expected one for each of 4 levels, got \(5, 4\)"),
        ({"peer_compat": True, "filtering": "paper"}, "filtering: expected 'peers' or nothing beside peer_compat, got"),
        ({"fgrm_channels": 0}, "fgrm_channels: expected an integer of at least 1, got 0"),
        ({"empty_batch_negatives": -1}, "empty_batch_negatives: expected an integer of at least 0, got -1"),
        ({"nms": {"keep_per_class": 0}}, "nms keep_per_class: expected an integer of at least 1, got 0"),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        EFGRNetConfig.from_options(**options)


def test_wrong_style_of_the_residual_network_is_named():
    with pytest.raises(ValueError, match=r"backbone_style: expected one of \['caffe', 'torchvision'\], got 'fb'"):
        refinedet.create_model("efgrnet512_resnet101", 4, backbone_style="fb")


@pytest.mark.parametrize("name", [name for name in list_configs() if name.startswith(("efgrnet", "ablations/efgrnet"))])
def test_configurations_build(name):
    content = load_config(name)
    model = on_meta(content["model"]["name"], 21, **content["model"].get("options", {}))
    assert content["output"].startswith("runs/efgrnet") and str(model.config.input_size) in name


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_row_of_the_ablations_has_a_configuration(row):
    content = load_config(f"ablations/efgrnet320_{row}")
    got = {key: tuple(v) if isinstance(v, list) else v for key, v in content["model"]["options"].items()}
    assert got == ABLATIONS[row]


def test_schedules():
    def rates(name, per_epoch=10):
        content = load_config(name)
        config, epochs = OptimConfig(**content["optim"]), content["train"]["epochs"]
        assert config.decay_bias and config.bias_lr_factor == 1 and config.weight_decay == 5e-4
        total = epochs * per_epoch
        return [config.lr * lr_factor(i, config, total=total, per_epoch=per_epoch) for i in range(total)]

    def at(rates, *epochs):  # the first iteration of these epochs, counted from 1
        return [rates[(epoch - 1) * 10] for epoch in epochs]

    code = rates("efgrnet320_vgg16_coco")
    assert len(code) == 1600 and code[0] == pytest.approx(1e-6) and code[25] == pytest.approx(2.0005e-3)
    assert code[49] < code[50] == 4e-3
    epochs = (90, 91, 110, 111, 130, 131, 150, 151, 160)
    assert at(code, *epochs) == pytest.approx([4e-3, 2e-3, 2e-3, 4e-4, 4e-4, 4e-5, 4e-5, 4e-6, 4e-6])
    paper = rates("efgrnet512_resnet101_coco_paper")
    assert at(paper, 90, 91, 120, 121, 140, 141) == pytest.approx([4e-3, 4e-4, 4e-4, 4e-5, 4e-5, 4e-6])
    voc = rates("efgrnet512_vgg16_voc07")
    assert len(voc) == 2500 and at(voc, 150, 151, 200, 201) == pytest.approx([4e-3, 4e-4, 4e-4, 4e-5])
