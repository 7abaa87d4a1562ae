from __future__ import annotations

import copy

import pytest
import torch

import refinedet
from refinedet import HeadOutputs, RefineDetLite, RefineDetLiteConfig
from refinedet.backbones import Res2NetLite, SmallNet
from refinedet.backbones.res2net_lite import ResBlock
from refinedet.complexity import measure
from refinedet.detectors.refinedetlite_entries import Res2NetRefineDetLiteConfig
from refinedet.heads import LightHead
from refinedet.weights import load_model, save_model

from .test_refinedet import make_batch as batch_of

NAME = "refinedetlite320_res2netlite72"
FIVE, SIX = {"anchor_ratios": (2, 3)}, {"anchor_ratios": (2, 3), "anchor_max_sizes": (64, 128, 256, 512)}
SMALL = {"width": 8, "mid_div": 2, "head_channels": 16, "head_inner": 8, "input_size": 192}
PLUSPLUS = {
    "box_loss": "giou",
    "soft_label_alpha": 0.25,
    "anchor_weight_beta": 0.9,
    "class_weights": (1.0, 3.0, 10.0),
    "task_balance": "uncertainty",
    "nms": "coco",
}


def small(**options):
    """The registered model at a small width."""
    return refinedet.create_model(NAME, 4, **{**SMALL, **options})


def shallow(extras=(16, 16), **options):
    """The same with one block a stage, quick everywhere."""
    torch.manual_seed(0)
    config = Res2NetRefineDetLiteConfig.from_options(**{**SMALL, **options})
    backbone = Res2NetLite(8, mid_div=2, block=config.block, depths=(1, 1, 1), extra_channels=extras)
    return RefineDetLite(backbone, config, num_classes=4)


def make_batch(counts, size=192):
    return batch_of(counts, size)


@pytest.mark.parametrize(
    ("options", "anchors", "parameters", "giga_macs"),
    [
        ({}, 1602, 10_250_944, 2.01),
        (FIVE, 2670, 10_438_040, 2.04),
        (SIX, 3204, 10_531_588, 2.05),
        ({"shared_heads": False, **SIX}, 3204, 13_435_652, 2.43),
    ],
)
def test_anchors_parameters_and_operations(options, anchors, parameters, giga_macs):
    found = measure(NAME, 81, **options)
    assert (found.anchors, found.parameters) == (anchors, parameters)
    assert found.macs / 1e9 == pytest.approx(giga_macs, abs=5e-3)


def test_every_row_of_the_ablation_is_cheaper_than_the_one_before():
    rows = ({"block": "residual", "head": "conv3x3"}, {"head": "conv3x3"}, {})
    first, second, third = (measure(NAME, 81, **options).macs for options in rows)
    assert first > second > third
    assert first / 1e9 == pytest.approx(3.44, abs=5e-3)  # the classical block is dense; of two groups 2.96


def test_anchors_divide_the_input_evenly_at_every_level():
    model = shallow(input_size=320)
    anchors = model.eval().head_outputs(torch.zeros(1, 3, 320, 320)).anchors * 320
    center, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
    first = [0, 1200, 1500, 1575]  # of each level, its square box in the first cell
    for index, step, side in zip(first, (16, 32, 64, 320 / 3), (32, 64, 128, 256), strict=True):
        torch.testing.assert_close(center[index], torch.full((2,), step / 2))
        torch.testing.assert_close(center[index + 3] - center[index], torch.tensor([step, 0.0]), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(size[index], torch.full((2,), float(side)))
    assert len(anchors) == 1602


def test_defaults_are_the_papers():
    config = refinedet.model_entry(NAME).config
    assert (config.width, config.mid_div, config.groups, config.block) == (72, 4, 2, "res2")
    assert (config.head, config.shared_heads, config.head_channels, config.head_inner) == ("light", True, 256, 128)
    assert (config.anchor_sizes, config.anchor_ratios, config.clip_anchors) == ((32, 64, 128, 256), (2.0,), False)
    assert (config.loss.box_loss, config.loss.soft_label_alpha, config.loss.task_balance) == ("smooth_l1", 0, "fixed")


def test_forward_is_the_figure():
    model, images = shallow().eval(), torch.randn(1, 3, 192, 192)
    sources = model.backbone(images)
    assert [m.shape[2] for m in sources] == [12, 6, 3, 2]
    assert isinstance(model.arm.blocks[0], LightHead) and isinstance(model.fusion.laterals[0], LightHead)
    assert all(conv.kernel_size == (1, 1) for conv in (*model.arm.cls, *model.odm.loc))
    outputs = model.head_outputs(images)
    for got, want in zip(outputs, (*model.arm(sources), *model.odm(model.fusion(sources))), strict=False):
        torch.testing.assert_close(got, want)


def test_ablation_with_plain_blocks_and_3x3_heads():
    model = shallow(block="residual", head="conv3x3")
    assert isinstance(model.backbone.trunk.stage1[1], ResBlock)
    assert not any(isinstance(m, LightHead) for m in model.modules())
    assert model.arm.cls[0].weight.shape == (6, 64, 3, 3) and model.odm.cls[0].weight.shape == (12, 16, 3, 3)
    batch = make_batch((2, 1))
    model.train().loss(model(batch.images), batch)["total"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("options", [PLUSPLUS, {"shared_heads": False, "groups": "depthwise"}])
def test_one_training_step_then_detection(options):
    model, batch = small(**options).train(), make_batch((2, 0, 3))
    outputs = model(batch.images)
    assert isinstance(outputs, HeadOutputs) and outputs.arm_logits.shape == (3, 3 * (144 + 36 + 9 + 4), 2)
    losses = model.loss(outputs, batch)
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any() or not name.startswith(("backbone", "fusion")), name
    before = [p.detach().clone() for p in model.parameters()]
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    found = model.eval()(batch.images)
    assert found.boxes.shape == (3, 500, 4) and torch.isfinite(found.scores).all()


@pytest.mark.parametrize("options", [{}, PLUSPLUS])
def test_a_few_steps_lower_the_loss(options):
    model, batch = shallow(**options, head_std=0.01).train(), make_batch((2, 3, 1, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    history = []
    for _ in range(25):
        losses = model.loss(model(batch.images), batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        history.append(sum(losses[name].item() for name in ("arm_cls", "arm_loc", "odm_cls", "odm_loc")))
    assert history[-1] < 0.85 * history[0]


def test_images_without_objects_give_zero_loss_and_zero_gradients_everywhere():
    model, batch = shallow(**PLUSPLUS).train(), make_batch((0, 0))
    total = model.loss(model(batch.images), batch)["total"]
    total.backward()
    assert total.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_a_batch_without_images_and_one_of_a_single_image():
    model = shallow().train()
    for counts in ((), (2,)):
        batch = make_batch(counts)
        model.loss(model(batch.images), batch)["total"].backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.eval()(make_batch(()).images).count.shape == (0,)


@pytest.mark.parametrize("options", [{}, PLUSPLUS])
def test_saves_and_loads(options, tmp_path):
    model, images = small(**options).eval(), torch.randn(1, 3, 192, 192)
    path = save_model(model, tmp_path / "lite.safetensors", class_names=["a", "b", "c"])
    again = load_model(path).model
    assert again.config == model.config
    for a, b in zip(model.head_outputs(images), again.head_outputs(images), strict=True):
        assert torch.equal(a, b)
    if options:
        assert torch.equal(model.criterion.class_weights, again.criterion.class_weights)


def test_bfloat16_autocast():
    model, batch = shallow(**PLUSPLUS).train(), make_batch((2, 1))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch.images)
        losses = model.loss(outputs, batch)
    assert outputs.odm_logits.dtype == torch.bfloat16 and losses["total"].dtype == torch.float32
    losses["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert model.eval()(batch.images).scores.dtype == torch.float32


def test_channels_last_double_and_deepcopy():
    model, images = shallow().eval(), torch.randn(2, 3, 192, 192)
    want = model.head_outputs(images)
    moved, layout = copy.deepcopy(model), torch.channels_last
    got = moved.to(memory_format=layout).head_outputs(images.to(memory_format=layout))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    assert moved.double()(images.double()).boxes.shape == (2, 500, 4)


def test_other_multiples_of_64_and_rectangles():
    model = shallow().eval()
    with torch.no_grad():
        for height, width, cells in ((320, 192, 240 + 60 + 15 + 6), (64, 128, 32 + 8 + 2 + 1)):
            assert model.head_outputs(torch.randn(1, 3, height, width)).anchors.shape == (3 * cells, 4)


def test_any_backbone_serves():
    backbone = SmallNet(stem=(16, 16), channels=(16, 16, 16, 16), depths=(0, 0, 0, 0))
    model = RefineDetLite(backbone, RefineDetLiteConfig(head_channels=8, head_inner=8), num_classes=3).eval()
    assert model.head_outputs(torch.zeros(1, 3, 128, 128)).odm_logits.shape == (1, 3 * (256 + 64 + 16 + 4), 3)


def test_head_std_sets_the_predictions_alone():
    model, other = shallow(head_std=0.01), shallow()
    assert model.arm.cls[0].weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert other.odm.cls[0].weight.abs().max().item() <= (3 / 16) ** 0.5
    assert torch.equal(model.fusion.laterals[0].direct[0].weight, other.fusion.laterals[0].direct[0].weight)


def test_strategies_serve_every_detector():
    model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16, **PLUSPLUS)
    batch = make_batch((2, 1), size=64)
    losses = model.train().loss(model(batch.images), batch)
    losses["total"].backward()
    assert torch.isfinite(losses["total"]) and model.criterion.balance.log_variance.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "heavy"}, r"head: expected one of \['light', 'conv3x3'\], got 'heavy'"),
        ({"shared_heads": "yes"}, r"shared_heads: expected one of \[True, False\], got 'yes'"),
        ({"head_channels": 0}, "head_channels: expected an integer of at least 1, got 0"),
        ({"head_inner": 1.5}, "head_inner: expected an integer of at least 1, got 1.5"),
        ({"head_std": -1}, "head_std: expected a number of at least 0 or None, got -1"),
        ({"width": 70}, "width: expected a multiple of 4, got 70"),
        ({"block": "res"}, r"block: expected one of \['res2', 'residual'\], got 'res'"),
        ({"input_size": 300}, "input_size: expected a multiple of 64, got 300"),
        ({"class_weights": (1.0,)}, "class_weights: expected 3 numbers, one per foreground class, got 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)
