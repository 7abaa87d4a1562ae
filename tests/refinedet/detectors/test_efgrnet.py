from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import refinedet
import refinedet_ext as rx
from refinedet import HeadOutputs
from refinedet.complexity import measure

from .efgrnet_models import TINY_RESNET, on_meta, tiny, tiny_resnet
from .test_refinedet import Raw, make_batch

MAKERS = [tiny, tiny_resnet]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "count", "anchors"),
    [
        ("efgrnet320_vgg16", 21, 48_174_836, 6375),
        ("efgrnet320_vgg16", 81, 49_834_436, 6375),
        ("efgrnet512_vgg16", 81, 49_834_436, 16320),
        ("efgrnet512_resnet101", 81, 76_823_492, 16320),
    ],
)
def test_parameters_and_anchors_of_the_paper(name, classes, count, anchors):
    model = on_meta(name, classes)
    assert parameters(model) == count
    size = model.config.input_size
    sizes = [(size // stride, size // stride) for stride in (8, 16, 32, 64)]
    assert model.backbone.strides == (8, 16, 32, 64)
    assert model.anchor_generator(sizes, (size, size)).shape == (anchors, 4)


def test_parameters_part_by_part():
    model = on_meta("efgrnet320_vgg16", 81)
    assert parameters(model.enrichment.mscf) == 110_848
    extractor = sum(parameters(part) for part in (model.backbone, model.norms, model.enrichment))
    assert extractor == 42_430_272
    assert sum(block.align.weight.numel() for block in model.fgrm) == 9 * 256 * (512 + 1024 + 256 + 256)
    assert (parameters(model.arm), parameters(model.odm)) == (331_848, 2_351_100)


@pytest.mark.parametrize(("size", "gmacs"), [(320, 48.1), (512, 123.1)])
def test_work_of_the_paper(size, gmacs):
    assert measure(f"efgrnet{size}_vgg16", 81).macs / 1e9 == pytest.approx(gmacs, abs=0.06)


def test_anchors_are_those_of_the_released_code():
    anchors = on_meta("efgrnet320_vgg16", 21).anchor_generator([(40, 40), (20, 20), (10, 10), (5, 5)], (320, 320))
    first = torch.tensor([-0.034375, -0.034375, 0.059375, 0.059375])  # 30 pixels around (4, 4)
    torch.testing.assert_close(anchors[0], first)
    assert (anchors[:, 2:] - anchors[:, :2]).max().item() == pytest.approx(1.0)  # clipped: 362 pixels else


def test_one_step_of_the_whole_network():
    """VGG-16 itself: the others here are small ones."""
    model = refinedet.create_model("efgrnet320_vgg16", 4, input_size=64, anchor_sizes=(16, 24, 32, 48)).train()
    batch = make_batch((2, 1), size=64)
    before = [model.backbone.trunk[0].weight.clone(), model.fgrm[0].offset[0].weight.clone()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model.loss(model(batch.images), batch)["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    optimizer.step()
    assert not torch.equal(before[0], model.backbone.trunk[0].weight)
    assert not torch.equal(before[1], model.fgrm[0].offset[0].weight)


@pytest.mark.parametrize("make", MAKERS)
def test_train_mode_gives_outputs_in_anchor_order(make):
    outputs = make().train()(torch.randn(2, 3, 128, 128))
    assert isinstance(outputs, HeadOutputs)
    count = 3 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2)
    assert [tuple(t.shape) for t in outputs] == [(2, count, 2), (2, count, 4), (2, count, 4), (2, count, 4), (count, 4)]


def test_forward_is_the_figure():
    model = tiny().eval()
    images = torch.randn(1, 3, 128, 128)
    maps = model.enrichment(images, model.backbone(images))
    logits, deltas = model.arm.level_maps(maps)
    guided = [block(*inputs) for block, *inputs in zip(model.fgrm, maps, logits, deltas, strict=True)]
    want = (*model.arm(maps), *model.odm(guided))
    for got, expected in zip(model.head_outputs(images), want, strict=False):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("make", MAKERS)
def test_loss_and_every_gradient_of_one_step(make):
    model = make().train()
    batch = make_batch((2, 0, 3))
    outputs = model(batch.images)
    losses = model.loss(outputs, batch)
    losses["total"].backward(retain_graph=True)
    assert losses["arm_positives"] > 0 and torch.isfinite(losses["total"])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    # the loss of few objects leaves some levels out; the outputs depend on every parameter
    sum(output.square().mean() for output in outputs[:4]).backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("make", MAKERS)
def test_images_without_objects_give_zero_loss_and_zero_gradients_everywhere(make):
    model = make().train()
    batch = make_batch((0, 0))
    total = model.loss(model(batch.images), batch)["total"]
    total.backward()
    assert total.item() == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_the_second_stages_loss_reaches_the_first_stages_boxes_through_the_offsets():
    model = tiny().train()
    outputs = model(make_batch((2, 1)).images)
    outputs.odm_logits.sum().backward()
    for stage in (model.arm.loc, model.arm.cls):  # and its scores through the objectness
        assert all(conv.weight.grad.any() for conv in stage)


def test_a_few_steps_lower_the_loss():
    model = tiny().train()
    batch = make_batch((2, 3, 1, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    history = []
    for _ in range(30):
        total = model.loss(model(batch.images), batch)["total"]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.5 * history[0]


def test_one_image_and_none():
    model = tiny().train()
    batch = make_batch((2,))
    model.loss(model(batch.images), batch)["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    empty = make_batch(())
    total = model.loss(model(empty.images), empty)["total"]
    total.backward()
    assert total.item() == 0 and all(torch.isfinite(b).all() for b in model.buffers())
    assert model.eval()(empty.images).count.shape == (0,)


@pytest.mark.parametrize("make", MAKERS)
def test_eval_mode_detects(make):
    with torch.no_grad():
        found = make().eval()(torch.randn(2, 3, 128, 192))
    assert isinstance(found, rx.Detections) and found.boxes.shape == (2, 1000, 4)


def test_bfloat16_autocast():
    model = tiny().train()
    batch = make_batch((2, 1))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch.images)
        losses = model.loss(outputs, batch)
    assert outputs.odm_logits.dtype == torch.bfloat16 and losses["total"].dtype == torch.float32
    losses["total"].backward()
    with torch.autocast("cpu", torch.bfloat16):
        assert model.eval()(batch.images).scores.dtype == torch.float32


def test_channels_last_gives_the_same():
    model = tiny().eval()
    images = torch.randn(2, 3, 128, 128)
    want = model.head_outputs(images)
    layout = torch.channels_last
    got = model.to(memory_format=layout).head_outputs(images.to(memory_format=layout))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_deepcopy_and_double():
    model = copy.deepcopy(tiny()).double().eval()
    assert model(torch.randn(1, 3, 64, 64, dtype=torch.float64)).boxes.shape == (1, 1000, 4)


@pytest.mark.parametrize(("name", "options"), [("efgrnet512_resnet101", TINY_RESNET), ("efgrnet192_small", {})])
@torch.no_grad()
def test_save_and_load(name, options, tmp_path):
    model = refinedet.create_model(name, 4, **options, nms={"preset": "efgrnet", "keep_top_k": 20}).eval()
    loaded = refinedet.load_model(refinedet.save_model(model, tmp_path / "m.safetensors")).model
    assert loaded.config == model.config
    images = torch.randn(1, 3, 128, 128)
    for a, b in zip(model(images), loaded(images), strict=True):
        assert torch.equal(a, b)


def test_predicts_images():
    model = refinedet.create_model("efgrnet192_small", 4)
    images = [np.full((60, 80, 3), value, np.uint8) for value in (0, 200)]
    found = refinedet.Predictor(model, ["a", "b", "c"], input_size=64)(images, score_threshold=0.0)
    assert len(found) == 2 and not model.training
    assert found[0].boxes.shape[1] == 4 and len(found[0].boxes) <= 150  # 50 of each class


@torch.no_grad()
def test_the_raw_network_compiles_in_one_graph():
    raw, images = Raw(tiny().eval()), torch.randn(1, 3, 64, 64)
    for a, b in zip(torch.compile(raw, backend="aot_eager", fullgraph=True)(images), raw(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cascade", [True, False])
@torch.no_grad()
def test_the_raw_network_exports(cascade):
    raw, images = Raw(tiny(cascade=cascade).eval()), torch.randn(1, 3, 64, 64)
    for a, b in zip(torch.export.export(raw, (images,)).module()(images), raw(images), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_resnet_form():
    model = tiny_resnet()
    images = torch.randn(1, 3, 128, 128)
    model.eval()
    res3, res4, res5, extra = model.backbone(images)
    smooth = model.norms[2]
    assert smooth.kernel_size == (3, 3) and not smooth.bias.any()
    maps = [res3, res4, F.conv2d(res5, smooth.weight, smooth.bias, padding=1), extra]
    enriched = model.enrichment(images, maps)
    assert [m.shape[1] for m in enriched] == [32, 64, 32, 16]
    assert [len(widen) for widen in model.enrichment.widen] == [3, 1, 1, 0]
    assert len(model.odm.blocks[0]) == len(model.odm.loc_blocks[0]) == 2
    assert model.backbone.style == "torchvision"
    assert refinedet.create_model("efgrnet512_resnet101", 4, **TINY_RESNET, backbone_style="caffe")


def test_initialization_is_the_released_codes():
    model = refinedet.create_model("efgrnet320_vgg16", 21)
    fuse = model.enrichment.objectness.fuse[0][0].weight
    assert fuse.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)  # fan out
    head, align = model.odm.cls[0], model.fgrm[0].align.weight
    for weight, fan_in in ((head.weight, 256 * 9), (align, 512 * 9)):
        assert 0.98 * fan_in**-0.5 < weight.abs().max() <= fan_in**-0.5
    assert not head.bias.any()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and all(m.momentum == 0.01 and m.eps == 1e-5 for m in norms)
