"""RefineDet on the residual and the mobile networks."""

from __future__ import annotations

import math

import pytest
import torch

import refinedet
from refinedet import HeadOutputs
from refinedet.backbones import TORCHVISION_PIXELS, MobileNetV1, MobileNetV2, MobileNetV3, ResNet, ShuffleNetV2
from refinedet.backbones.bottleneck import Bottleneck
from refinedet.complexity import measure
from refinedet.structures import CAFFE_MEAN

from .test_refinedet import make_batch

COMMON = {"input_size": 128, "anchor_sizes": (16, 32, 64, 128), "tcb_channels": 16}
RESNET = {"backbone_depths": (1, 1, 1, 1), "backbone_width": 8, "head_block_width": 8}
# options that make the entry quick everywhere
TINY = {
    "refinedet320_resnet101": RESNET,
    "refinedet512_resnet101": {**RESNET, "backbone_style": "torchvision"},
    "refinedet512_resnext101": {**RESNET, "cardinality": 4, "group_width": 16},
    "refinedet320_mobilenet_v1": {"backbone_width": 0.25},
    "refinedet320_mobilenet_v2": {"backbone_width": 0.25},
    "refinedet320_mobilenet_v3": {"backbone_width": 0.25},
    "refinedet320_shufflenet_v2": {"backbone_channels": (8, 8, 16, 24, 32)},
}


# milliseconds on one thread in the paper's table 2
MOBILE = {
    "refinedet320_mobilenet_v1": 168,
    "refinedet320_mobilenet_v2": 163,
    "refinedet320_mobilenet_v3": 150,
    "refinedet320_shufflenet_v2": 129,
}


def tiny(name, **options):
    torch.manual_seed(0)
    return refinedet.create_model(name, 4, **{**COMMON, **TINY[name], **options})


def parts(name, classes):
    with torch.device("meta"):
        model = refinedet.create_model(name, classes)
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}


@pytest.mark.parametrize("name", ["refinedet320_resnet101", "refinedet512_resnet101"])
def test_parameter_counts_of_resnet101(name):
    assert sum(parts(name, 81).values()) == 82_451_588
    assert sum(parts(name, 21).values()) == 75_815_348


def test_parameters_of_resnet101_part_by_part():
    count = parts("refinedet512_resnet101", 81)
    body = 42_500_160
    res6 = 2048 * 128 + 9 * 128 * 128 + 128 * 512 + 2048 * 512 + 2 * (128 + 128 + 512 + 512)
    sources, conv = 512 + 1024 + 2048 + 512, 9 * 256 * 256
    tcb = 9 * sources * 256 + 8 * conv + 3 * 4 * 256 * 256 + 2 * 256 * 15
    # both stages: 1x1 and projection from the source, 3x3, 1x1 to 1024, their norms
    block = 9 * 256 * 256 + 256 * 1024 + 2 * (256 + 256 + 1024 + 1024)
    arm_blocks, odm_blocks = (s * (256 + 1024) + 4 * block for s in (sources, 4 * 256))
    arm_heads, odm_heads = (4 * (9 * 1024 + 1) * 3 * width for width in (2 + 4, 81 + 4))
    assert count == {
        "backbone": body + res6,
        "norms": 0,
        "arm": arm_blocks + arm_heads,
        "tcb": tcb,
        "odm": odm_blocks + odm_heads,
        "criterion": 0,
    }
    rounded = [round(n / 1e6, 2) for n in (body, res6, tcb, arm_blocks + odm_blocks, arm_heads + odm_heads)]
    assert rounded == [42.5, 1.53, 14.95, 13.41, 10.06]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # the ResNet-101 detector with 86,742,336 parameters for 42,500,160 in the trunk
        ("refinedet512_resnext101", 82_451_588 - 42_500_160 + 86_742_336),
        ("refinedet320_mobilenet_v1", 20_139_396),
        ("refinedet320_mobilenet_v2", 20_010_948),
        ("refinedet320_mobilenet_v3", 20_124_724),
        ("refinedet320_shufflenet_v2", 17_495_544),
    ],
)
def test_parameter_counts_of_the_others(name, parameters):
    assert sum(parts(name, 81).values()) == parameters


@pytest.mark.parametrize("name", TINY)
def test_anchor_totals(name):
    with torch.device("meta"):
        model = refinedet.create_model(name)
    size = model.config.input_size
    assert name.startswith(f"refinedet{size}_")
    sizes = [(math.ceil(size / stride),) * 2 for stride in model.backbone.strides]
    total = 1602 if name in MOBILE else {320: 6375, 512: 16320}[size]
    assert model.anchor_generator(sizes, (size, size)).shape == (total, 4)


@pytest.mark.parametrize(
    ("name", "kind", "pixels"),
    [
        ("refinedet320_resnet101", ResNet, {"pixel_mean": CAFFE_MEAN, "pixel_std": (1, 1, 1), "channel_order": "bgr"}),
        ("refinedet512_resnext101", ResNet, TORCHVISION_PIXELS),
        ("refinedet320_mobilenet_v1", MobileNetV1, TORCHVISION_PIXELS),
        ("refinedet320_mobilenet_v2", MobileNetV2, TORCHVISION_PIXELS),
        ("refinedet320_mobilenet_v3", MobileNetV3, TORCHVISION_PIXELS),
        ("refinedet320_shufflenet_v2", ShuffleNetV2, TORCHVISION_PIXELS),
    ],
)
def test_backbone_and_pixels_belong_together(name, kind, pixels):
    with torch.device("meta"):
        model = refinedet.create_model(name)
    assert isinstance(model.backbone, kind)
    assert {key: getattr(model.config, key) for key in pixels} == pixels
    assert model.normalization.order == pixels["channel_order"]


def test_options_reach_the_residual_network():
    with torch.device("meta"):
        nets = {name: refinedet.create_model(name).backbone for name in TINY if "res" in name}
    assert nets["refinedet320_resnet101"].style == "caffe"
    assert nets["refinedet512_resnext101"].style == "torchvision"
    assert nets["refinedet512_resnext101"].layer1[0].conv2.groups == 32
    assert len(nets["refinedet512_resnet101"].layer3) == 23
    assert tiny("refinedet512_resnet101").backbone.style == "torchvision"


def test_head_blocks_are_projection_bottlenecks_in_both_stages():
    with torch.device("meta"):
        model = refinedet.create_model("refinedet320_resnet101")
    for heads, widths in ((model.arm, (512, 1024, 2048, 512)), (model.odm, (256,) * 4)):
        for block, width in zip(heads.blocks, widths, strict=True):
            assert isinstance(block, Bottleneck)
            assert block.conv1.weight.shape == (256, width, 1, 1) and block.conv2.weight.shape == (256, 256, 3, 3)
            assert block.downsample[0].weight.shape == (1024, width, 1, 1)
            assert all(conv.stride == (1, 1) for conv in (block.conv1, block.conv2, block.downsample[0]))
        assert [conv.in_channels for conv in (*heads.cls, *heads.loc)] == [1024] * 8
        assert all(conv.bias is not None for conv in (*heads.cls, *heads.loc))


def test_transfer_connection_blocks_take_the_maps_before_the_head_blocks():
    model = tiny("refinedet320_resnet101").eval()
    images = torch.randn(1, 3, 128, 128)
    sources = model.backbone(images)
    outputs = model.head_outputs(images)
    arm = [block(x) for block, x in zip(model.arm.blocks, sources, strict=True)]
    odm = [block(x) for block, x in zip(model.odm.blocks, model.tcb(sources), strict=True)]
    for maps, heads, logits in ((arm, model.arm, outputs.arm_logits), (odm, model.odm, outputs.odm_logits)):
        first = heads.cls[0](maps[0]).permute(0, 2, 3, 1).reshape(1, -1, heads.num_classes)
        torch.testing.assert_close(logits[:, : first.shape[1]], first)


@pytest.mark.parametrize("name", TINY)
def test_transfer_connection_blocks_have_batch_norm_and_no_bias(name):
    with torch.device("meta"):
        model = refinedet.create_model(name)
    for block in model.tcb.blocks:
        convolutions = [block.lateral1, block.lateral2, block.smooth, block.deconv]
        assert all(conv.bias is None for conv in convolutions if conv is not None)
        assert block.deconv is None or block.deconv_norm is not None


def test_new_layers_start_normal_and_the_heads_with_caffes_xavier():
    model = tiny("refinedet320_resnet101", tcb_channels=64, head_block_width=64)
    block = model.tcb.blocks[0]
    normal = [block.lateral1, block.deconv, block.smooth]
    for heads in (model.arm, model.odm):
        normal += [heads.blocks[1].conv2, heads.blocks[1].conv3, heads.blocks[1].downsample[0]]
    assert all(conv.weight.std().item() == pytest.approx(0.01, rel=0.1) for conv in normal)
    bound = (3 / (9 * 256)) ** 0.5
    for conv in (model.arm.cls[0], model.arm.loc[3], model.odm.cls[1], model.odm.loc[2]):
        assert 0.98 * bound < conv.weight.abs().max() <= bound and not conv.bias.any()


def test_head_std_leaves_the_head_blocks_alone():
    model = tiny("refinedet320_resnet101", head_std=0.001, neck_std=0.05, head_block_width=64)
    assert model.odm.loc[0].weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert model.odm.blocks[0].conv2.weight.std().item() == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize("name", TINY)
def test_trains_detects_and_goes_round(name, tmp_path):
    model, batch = tiny(name).train(), make_batch((2, 0, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    outputs = model(batch.images)
    assert isinstance(outputs, HeadOutputs) and outputs.odm_logits.shape[2] == 4
    total = model.loss(outputs, batch)["total"]
    total.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
    optimizer.step()
    still = [key for key, value in model.state_dict().items() if torch.equal(value, before[key])]
    # the heads of a level without a sampled anchor stay
    assert all(key.startswith(("arm", "odm")) for key in still), still
    assert not any(key.startswith(("arm.cls.0", "odm.cls.0")) for key in still), still
    with torch.no_grad():
        detections = model.eval()(batch.images)
    assert detections.boxes.shape == (3, 500, 4)
    refinedet.save_model(model, tmp_path / "model.safetensors")
    loaded = refinedet.load_model(tmp_path / "model.safetensors").model
    assert loaded.spec == model.spec and type(loaded.config) is type(model.config)
    with torch.no_grad():
        again = loaded(batch.images)
    for a, b in zip(detections, again, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_autocast(name):
    model, batch = tiny(name).train(), make_batch((2, 1))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch.images)
        total = model.loss(outputs, batch)["total"]
    assert outputs.odm_logits.dtype == torch.bfloat16 and total.dtype == torch.float32
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model.eval()(batch.images).scores.dtype == torch.float32


@pytest.mark.parametrize("name", ["refinedet320_resnet101", "refinedet320_shufflenet_v2"])
def test_channels_last_gives_the_same(name):
    model, images = tiny(name).eval(), torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        want = model.head_outputs(images)
        layout = torch.channels_last
        got = model.to(memory_format=layout).head_outputs(images.to(memory_format=layout))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MOBILE)
def test_mobile_networks_are_as_heavy_as_the_papers_times_say(name):
    """RefineDetLite takes 130 ms; at its pace the rows beside it take about what the paper gives, from stride 16."""
    lite = measure("refinedetlite320_res2netlite72", 81).macs / 130
    coarse, fine = (measure(name, 81, finest_stride=stride).macs / lite for stride in (16, 8))
    assert measure(name, 81).macs / lite == coarse
    assert coarse == pytest.approx(MOBILE[name], rel=0.2) and fine > 2.2 * MOBILE[name]


@pytest.mark.parametrize("name", MOBILE)
def test_mobile_networks_from_stride_8(name):
    model = tiny(name, finest_stride=8, input_size=320)
    assert model.backbone.strides == (8, 16, 32, 64)
    assert model.eval().head_outputs(torch.zeros(1, 3, 320, 320)).anchors.shape == (6375, 4)


@pytest.mark.parametrize("name", ["refinedet320_mobilenet_v1", "refinedet320_shufflenet_v2"])
def test_mobile_networks_from_stride_16(name):
    model = tiny(name, input_size=320)
    assert model.backbone.strides == (16, 32, 64, 128)
    assert [level.step for level in model.anchor_generator.levels] == [16, 32, 64, None]
    batch = make_batch((2, 1), size=320)
    outputs = model.train()(batch.images)
    assert outputs.anchors.shape == (1602, 4)
    last = outputs.anchors[-3:].mean(0)
    torch.testing.assert_close((last[:2] + last[2:]) / 2, torch.full((2,), 2.5 / 3))
    model.loss(outputs, batch)["total"].backward()
    assert model.eval()(batch.images).count.shape == (2,)


@pytest.mark.parametrize("name", ["refinedet320_mobilenet_v2", "refinedet320_mobilenet_v3"])
def test_taps_choose_the_maps(name):
    with torch.device("meta"):
        wide, narrow = (
            refinedet.create_model(name, taps=taps).backbone.out_channels for taps in ("expansion", "block")
        )
    assert narrow[0] < 128 < wide[0] and narrow[1:] == wide[1:]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "refinedet320_resnet101",
            {"backbone_style": "x"},
            r"backbone_style: expected one of \['caffe', 'torchvision'\]",
        ),
        ("refinedet320_resnet101", {"head_blocks": "x"}, r"head_blocks: expected one of \['none', 'bottleneck'\], got"),
        (
            "refinedet320_resnet101",
            {"head_block_width": 0},
            "head_block_width: expected an integer of at least 1, got 0",
        ),
        ("refinedet320_resnet101", {"neck_std": -1}, "neck_std: expected a number of at least 0 or None, got -1"),
        ("refinedet320_mobilenet_v2", {"taps": "x"}, r"taps: expected one of \['expansion', 'block'\], got 'x'"),
        ("refinedet320_mobilenet_v1", {"finest_stride": 4}, r"finest_stride: expected one of \[8, 16\], got 4"),
        ("refinedet320_mobilenet_v1", {"backbone_style": "caffe"}, "has no option 'backbone_style'"),
        ("refinedet320_mobilenet_v1", {"input_size": 300}, "input_size: expected a multiple of 64, got 300"),
    ],
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        refinedet.create_model(name, **options)


def test_any_entry_can_have_the_head_blocks():
    model = tiny("refinedet320_mobilenet_v1", head_blocks="bottleneck", head_block_width=8)
    assert isinstance(model.arm.blocks[0], Bottleneck)
    assert model.eval()(torch.zeros(1, 3, 128, 128)).boxes.shape == (1, 500, 4)
