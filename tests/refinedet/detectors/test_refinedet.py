from __future__ import annotations

import copy

import pytest
import torch

import refinedet
import refinedet_ext as rx
from refinedet import HeadOutputs, RefineDet, RefineDetConfig
from refinedet.backbones import VGG16, SmallNet
from refinedet.structures import Batch


def tiny(**options):
    """A RefineDet that is quick everywhere."""
    torch.manual_seed(0)
    backbone = SmallNet(stem=(16, 16), channels=(16, 16, 16, 16), depths=(0, 0, 0, 0))
    options = {"input_size": 128, "anchor_sizes": (16, 32, 64, 128), "tcb_channels": 16, **options}
    return RefineDet(backbone, RefineDetConfig.from_options(**options), num_classes=4)


def make_batch(counts, size=128):
    generator = torch.Generator().manual_seed(0)
    total, images = sum(counts), len(counts)
    corner = torch.rand(total, 2, generator=generator) * 0.6
    side = torch.rand(total, 2, generator=generator) * 0.3 + 0.1
    return Batch(
        images=torch.randn(images, 3, size, size, generator=generator) * 50,
        gt_boxes=torch.cat([corner, corner + side], dim=1),
        gt_labels=torch.randint(1, 4, (total,), generator=generator),
        gt_offsets=torch.tensor([0, *counts]).cumsum(0),
        gt_ignore=torch.zeros(total, dtype=torch.bool),
        image_ids=list(range(images)),
        paths=[""] * images,
        original_sizes=[(size, size)] * images,
    )


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("refinedet320_vgg16", 21, 34_440_884),
        ("refinedet512_vgg16", 21, 34_440_884),
        ("refinedet320_vgg16", 81, 36_100_484),
    ],
)
def test_parameter_counts_of_the_paper(name, classes, parameters):
    model = refinedet.create_model(name, classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_parameters_part_by_part():
    model = refinedet.create_model("refinedet320_vgg16", 21)
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert parts == {
        "backbone": 20_483_904 + 1_442_560,
        "norms": 1_024,
        "arm": 414_792,
        "tcb": 11_407_104,
        "odm": 691_500,
        "criterion": 0,
    }


@pytest.mark.parametrize(("size", "anchors"), [(320, 6375), (512, 16320)])
def test_anchor_totals(size, anchors):
    model = refinedet.create_model(f"refinedet{size}_vgg16")
    sizes = [(size // stride, size // stride) for stride in model.backbone.strides]
    assert model.anchor_generator(sizes, (size, size)).shape == (anchors, 4)


def test_vgg_normalizes_its_first_two_maps():
    model = refinedet.create_model("refinedet320_vgg16")
    assert [getattr(norm, "scale", None) for norm in model.norms] == [10, 8, None, None]
    assert isinstance(model.backbone, VGG16)


def test_new_layers_start_with_caffes_xavier():
    model = refinedet.create_model("refinedet320_vgg16")
    fans = {
        model.arm.cls[0]: 512 * 9,
        model.odm.loc[3]: 256 * 9,
        model.tcb.blocks[0].lateral1: 512 * 9,
        model.tcb.blocks[0].deconv: 256 * 4,
        model.backbone.conv6_1: 1024,
    }
    for layer, fan_in in fans.items():
        bound = (3 / fan_in) ** 0.5
        assert 0.98 * bound < layer.weight.abs().max() <= bound and not layer.bias.any()


def test_head_std_sets_the_heads_alone():
    model, other = tiny(head_std=0.01), tiny()
    assert model.arm.cls[0].weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert model.odm.loc[0].weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert torch.equal(model.tcb.blocks[3].smooth.weight, other.tcb.blocks[3].smooth.weight)


def test_train_mode_gives_outputs_in_anchor_order():
    model = tiny().train()
    outputs = model(torch.randn(2, 3, 128, 128))
    assert isinstance(outputs, HeadOutputs)
    count = 3 * (16 * 16 + 8 * 8 + 4 * 4 + 2 * 2)
    shapes = [tuple(t.shape) for t in outputs]
    assert shapes == [(2, count, 2), (2, count, 4), (2, count, 4), (2, count, 4), (count, 4)]
    assert outputs.anchors.dtype == torch.float32 and not outputs.anchors.requires_grad


def test_forward_is_the_figure():
    model = tiny().eval()
    images = torch.randn(1, 3, 128, 128)
    sources = model.backbone(images)
    arm, odm = model.arm(sources), model.odm(model.tcb(sources))
    outputs = model.head_outputs(images)
    for got, want in zip(outputs, (*arm, *odm), strict=False):
        torch.testing.assert_close(got, want)


def test_loss_and_every_gradient_of_one_step():
    model = tiny().train()
    batch = make_batch((2, 0, 3))
    losses = model.loss(model(batch.images), batch)
    losses["total"].backward()
    assert losses["arm_positives"] > 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # heads of a level that no sampled anchor belongs to have a zero gradient
        assert parameter.grad.any() or not name.startswith(("backbone", "tcb")), name


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_images_without_objects_give_zero_loss_and_zero_gradients_everywhere(norm):
    model = tiny(tcb_norm=norm).train()
    batch = make_batch((0, 0))
    total = model.loss(model(batch.images), batch)["total"]
    total.backward()
    assert total.item() == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_a_few_steps_lower_the_loss():
    model = tiny(tcb_norm="batch").train()
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


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_batch_without_images(norm):
    model = tiny(tcb_norm=norm)
    statistics = copy.deepcopy(dict(model.named_buffers()))
    batch = make_batch(())
    total = model.train().loss(model(batch.images), batch)["total"]
    total.backward()
    assert total.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert (
        all(torch.isfinite(b).all() for b in model.buffers())
        and statistics.keys() == dict(model.named_buffers()).keys()
    )
    assert model.eval()(batch.images).count.shape == (0,)


def test_trains_with_one_image():
    model = tiny(tcb_norm="batch").train()
    batch = make_batch((2,))
    model.loss(model(batch.images), batch)["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_bfloat16_autocast():
    model = tiny(tcb_norm="batch").train()
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


@pytest.mark.parametrize("size", [(64, 64), (192, 128), (256, 320)])
def test_other_multiples_of_64(size):
    model = tiny().eval()
    with torch.no_grad():
        outputs = model.head_outputs(torch.randn(1, 3, *size))
    cells = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32, 64))
    assert outputs.anchors.shape == (3 * cells, 4) and outputs.odm_logits.shape == (1, 3 * cells, 4)


def test_anchors_are_made_once_per_size():
    model = tiny().eval()
    small, large = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
    first, other, again = (model.head_outputs(x).anchors for x in (small, large, small))
    assert first is again and other.shape != first.shape


def test_the_cache_of_anchors_is_bounded_and_outside_the_state():
    model = tiny()
    keys = set(model.state_dict())
    for width in range(1, 40):
        maps = [torch.zeros(1, 1, 1, width)] * 4
        model.anchors_for(maps, torch.zeros(1, 3, 64, 64 * width))
    assert len(model._anchors) <= 32 and set(model.state_dict()) == keys


def test_anchors_first_made_in_inference_mode_serve_in_training():
    model = tiny()
    batch = make_batch((2,))
    with torch.inference_mode():
        model.eval()(batch.images)
    model.train().loss(model(batch.images), batch)["total"].backward()


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(3, 128, 128), ValueError, r"images: expected shape \(B, 3, H, W\), got \(3, 128, 128\)"),
        (torch.zeros(1, 1, 128, 128), ValueError, r"images: expected shape \(B, 3, H, W\), got \(1, 1, 128, 128\)"),
        (torch.zeros(1, 3, 128, 100), ValueError, "images: expected a width that is a multiple of 64, got 100"),
        (torch.zeros(1, 3, 0, 128), ValueError, "images: expected a height that is a multiple of 64, got 0"),
        (
            torch.zeros(1, 3, 128, 128, dtype=torch.int32),
            TypeError,
            "images: expected uint8 or a floating-point tensor",
        ),
    ],
)
def test_wrong_images_are_named(images, error, message):
    with pytest.raises(error, match=message):
        tiny()(images)


def test_wrong_input_size_is_named():
    with pytest.raises(ValueError, match="input_size: expected a multiple of 64, got 300"):
        refinedet.create_model("refinedet320_small", 4, input_size=300)


def test_ablation_without_tcb():
    model = tiny(use_tcb=False)
    assert not list(model.tcb.parameters())
    batch = make_batch((2, 1))
    model.train().loss(model(batch.images), batch)["total"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_ablation_of_a_single_stage_is_one_set_of_heads_with_one_loss():
    """The paper's row without TCBs: the ARM itself predicts the classes, "just like SSD"."""
    model = tiny(cascade=False, use_tcb=False, two_step=False, theta=1.0, filtering="none")
    assert model.arm is None and not list(model.tcb.parameters())
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "odm"}
    assert [conv.in_channels for conv in model.odm.cls] == list(model.backbone.out_channels)
    batch = make_batch((2, 1))
    outputs = model.train()(batch.images)
    losses = model.loss(outputs, batch)
    assert losses["arm_cls"] == losses["arm_loc"] == losses["arm_positives"] == losses["filtered"] == 0
    assert losses["odm_positives"] > 0 and losses["total"] == losses["odm_cls"] + losses["odm_loc"]
    losses["total"].backward()
    assert all(p.grad is not None for p in model.parameters()) and any(c.weight.grad.any() for c in model.odm.loc)

    outputs = type(outputs)(*(t.detach() for t in outputs))
    logits = torch.zeros_like(outputs.odm_logits)
    logits[..., 0] = 10
    logits[0, 100, :3] = torch.tensor([0.0, 0.0, 8.0])
    found = model.detect(outputs._replace(odm_logits=logits))
    assert found.count.tolist() == [1, 0] and found.labels[0, 0] == 2
    box = rx.decode_boxes(outputs.odm_deltas[0, 100], outputs.anchors[100], (0.1, 0.1, 0.2, 0.2))
    torch.testing.assert_close(found.boxes[0, 0], box)


def test_a_single_stage_may_have_tcbs():
    model = tiny(cascade=False)
    assert model.arm is None and list(model.tcb.parameters())
    batch = make_batch((2, 1))
    model.train().loss(model(batch.images), batch)["total"].backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(batch.images).count.shape == (2,)


def test_vgg_as_a_single_stage_has_the_heads_of_ssd():
    with torch.device("meta"):
        whole, single = (
            refinedet.create_model("refinedet320_vgg16", 21, **options)
            for options in ({}, {"cascade": False, "use_tcb": False})
        )
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    assert count(whole) == 34_440_884
    heads = sum(9 * width * 3 * (21 + 4) + 3 * (21 + 4) for width in (512, 512, 1024, 512))
    assert count(single.odm) == heads and count(single) == 20_483_904 + 1_442_560 + 1_024 + heads


def test_extra_anchors_widen_the_heads():
    model = tiny(anchor_max_sizes=(32, 64, 128, 256), anchor_ratios=((2, 3), (2, 3), (2,), (2,)))
    assert [conv.out_channels for conv in model.arm.loc] == [24, 24, 16, 16]
    assert [conv.out_channels for conv in model.odm.cls] == [24, 24, 16, 16]
    model.eval()(torch.zeros(1, 3, 128, 128))


def test_deepcopy_and_double():
    model = copy.deepcopy(tiny()).double().eval()
    assert model(torch.randn(1, 3, 64, 64, dtype=torch.float64)).boxes.shape == (1, 500, 4)


class Raw(torch.nn.Module):
    """The network without its detection step."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model.head_outputs(images)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_raw_network_compiles_in_one_graph_and_exports(norm):
    raw, images = Raw(tiny(tcb_norm=norm).eval()), torch.randn(1, 3, 128, 128)
    want = raw(images)
    compiled = torch.compile(raw, backend="eager", fullgraph=True)
    exported = torch.export.export(raw, (images,)).module()
    for run in (compiled, exported):
        for a, b in zip(run(images), want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
