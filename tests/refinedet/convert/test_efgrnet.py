from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.backbones.checkpoint import load_strict
from refinedet.cli import main
from refinedet.convert.efgrnet import convert

from ..detectors.efgrnet_models import on_meta
from .efgrnet_forward import Released

CLASSES = 4


def conv(name, *shape, bias=False):
    state = {f"{name}.weight": torch.empty(shape)}
    return state | {f"{name}.bias": torch.empty(shape[0])} if bias else state


def norm(name, width):
    state = {f"{name}.{field}": torch.empty(width) for field in ("weight", "bias", "running_mean", "running_var")}
    return state | {f"{name}.num_batches_tracked": torch.tensor(7)}


def basic(name, inputs, outputs, kernel=1):
    """The block of convolution, batch norm and ReLU there."""
    return conv(f"{name}.conv", outputs, inputs, kernel, kernel) | norm(f"{name}.bn", outputs)


def mscf(name):
    state = basic(f"{name}.single_branch.0", 3, 128, 3) | basic(f"{name}.single_branch.1", 128, 128)
    for branch in (1, 2, 3):
        inside = f"{name}.single_branch.2.branch_{branch}"
        state |= basic(f"{inside}.0", 128, 32) | basic(f"{inside}.1", 32, 32, 3)
    return state | basic(f"{name}.single_branch.2.branch_4", 96, 512)


def first_stage(widths):
    state = {}
    for level, width in enumerate(widths):
        state |= conv(f"arm_loc.{level}", 12, width, 3, 3, bias=True)
        state |= conv(f"arm_conf.{level}", 6, width, 3, 3, bias=True)
        state |= basic(f"loc_offset_conv.{level}", 6, 18) | conv(f"dcn_convs.{level}", 256, width, 3, 3)
        state |= norm(f"bn_layers.{level}", 256)
    return state


def vgg(classes=CLASSES):
    """The names and shapes of the state dict that the released code makes with VGG-16."""
    trunk = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    trunk |= {17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}
    state = {}
    for index, shape in (trunk | {31: (1024, 512)}).items():
        state |= conv(f"extractor.vgg.{index}", *shape, 3, 3, bias=True)
    state |= conv("extractor.vgg.33", 1024, 1024, 1, 1, bias=True)
    for index, shape in enumerate(((1024, 256, 1), (256, 256, 3), (256, 128, 1), (128, 256, 3))):
        state |= basic(f"extractor.extras.{index}", *shape)
    state |= basic("extractor.Norm1.single_branch.0", 512, 512, 3) | basic("extractor.Norm3", 256, 256, 3)
    state |= basic("extractor.Norm2.single_branch.0", 1024, 1024, 3) | basic("extractor.Norm4", 256, 256, 3)
    state |= mscf("extractor.icn1")
    for index, shape in enumerate(((512, 1024), (1024, 256), (256, 256)), start=1):
        state |= basic(f"extractor.dsc{index}.single_branch.0", *shape, 3)
    state |= norm("extractor.ibn1.bn", 512) | norm("extractor.ibn2.bn", 1024)
    for level in range(4):
        state |= conv(f"odm_loc.{level}", 12, 256, 3, 3, bias=True)
        state |= conv(f"odm_conf.{level}", 3 * classes, 256, 3, 3, bias=True)
    return state | first_stage((512, 1024, 256, 256))


def resnet(classes=CLASSES):
    """The same with ResNet-101."""
    state = conv("extractor.conv1", 64, 3, 7, 7) | norm("extractor.bn1", 64)
    before = 64
    for stage, depth in enumerate((3, 4, 23, 3)):
        width = 64 * 2**stage
        for block in range(depth):
            name = f"extractor.layer{stage + 1}.{block}"
            for index, shape in enumerate(((width, before, 1), (width, width, 3), (4 * width, width, 1)), start=1):
                state |= conv(f"{name}.conv{index}", *shape[:2], shape[2], shape[2]) | norm(
                    f"{name}.bn{index}", shape[0]
                )
            if block == 0:
                state |= conv(f"{name}.downsample.0", 4 * width, before, 1, 1) | norm(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    for index, width in enumerate((512, 1024, 512, 256), start=1):
        state |= basic(f"extractor.Norm{index}", width, 256, 3)
    state |= mscf("extractor.MSCF")
    for index, width in enumerate((1024, 512, 256), start=1):
        state |= basic(f"extractor.dsc{index}.single_branch.0", 256, width, 3)
    state |= basic("extractor.extras.0", 2048, 256) | basic("extractor.extras.1", 256, 256, 3)
    for block in (0, 1):
        for index, shape in enumerate(((256, 64, 1), (64, 64, 3), (64, 256, 1))):
            state |= basic(f"extractor.trans.0.{block}.single_branch.{index}", *shape)
    state |= basic("extractor.trans.0.2", 256, 512)
    state |= basic("extractor.trans.1", 256, 1024) | basic("extractor.trans.2", 256, 512)
    state |= conv("extractor.smooth1", 512, 2048, 3, 3, bias=True)
    for level in range(4):
        for kind, width in (("loc", 12), ("conf", 3 * classes)):
            name = f"odm_{kind}.{level}"
            state |= basic(f"{name}.0.branch1", 256, 512) | basic(f"{name}.0.branch2", 512, 512)
            state |= conv(f"{name}.1", width, 512, 3, 3, bias=True)
    return state | first_stage((512, 1024, 512, 256))


def on_nothing(make, *arguments):
    """The checkpoint without memory for its values; the counters of the norms have some."""
    with torch.device("meta"):
        return make(*arguments)


@pytest.mark.parametrize(
    ("make", "model", "style"), [(vgg, "efgrnet320_vgg16", None), (resnet, "efgrnet512_resnet101", "torchvision")]
)
def test_every_tensor_finds_its_place(make, model, style):
    state = on_nothing(make)
    converted = convert(state)
    assert (converted.model, converted.num_classes) == (model, CLASSES)
    built = on_meta(model, CLASSES, **converted.options)
    load_strict(built, converted.state, source="test")  # names and shapes
    assert len(converted.state) == len(state)
    # every tensor once: none stands in two places
    assert len({id(value) for value in converted.state.values()}) == len(state)
    assert converted.options.get("backbone_style") == style
    config = built.config
    assert config.anchor_sizes[0] == 30 and config.clip_anchors and config.offset_act
    assert (config.loss.matching, config.loss.filtering, config.loss.empty_batch_negatives) == ("argmax", "peers", 45)


def test_places_that_shapes_alone_do_not_tell():
    state, converted = on_nothing(vgg), {}
    converted = convert(state).state
    pairs = {
        "enrichment.objectness.fuse.2.0.weight": "extractor.Norm3.conv.weight",
        "enrichment.objectness.fuse.3.0.weight": "extractor.Norm4.conv.weight",
        "enrichment.objectness.down.2.0.weight": "extractor.dsc3.single_branch.0.conv.weight",
        "enrichment.mscf.branches.1.1.0.weight": "extractor.icn1.single_branch.2.branch_2.1.conv.weight",
        "fgrm.2.offset.1.running_mean": "loc_offset_conv.2.bn.running_mean",
        "fgrm.3.norm.weight": "bn_layers.3.weight",
        "odm.cls.1.bias": "odm_conf.1.bias",
        "arm.loc.3.weight": "arm_loc.3.weight",
    }
    for ours, theirs in pairs.items():
        assert converted[ours] is state[theirs], ours
    state = on_nothing(resnet)
    converted = convert(state).state
    pairs = {
        "odm.blocks.3.1.0.weight": "odm_conf.3.0.branch2.conv.weight",
        "odm.loc_blocks.0.1.0.weight": "odm_loc.0.0.branch2.conv.weight",
        "enrichment.widen.0.1.body.1.0.weight": "extractor.trans.0.1.single_branch.1.conv.weight",
        "enrichment.widen.2.0.0.weight": "extractor.trans.2.conv.weight",
        "backbone.layer3.7.conv2.weight": "extractor.layer3.7.conv2.weight",
    }
    for ours, theirs in pairs.items():
        assert converted[ours] is state[theirs], ours


def filled(state):
    """Values with which the activations keep their size."""
    torch.manual_seed(0)
    for key, value in state.items():
        if key.endswith(("running_var", "weight")) and value.dim() == 1:
            value.uniform_(0.8, 1.2)
            if key.endswith("bn3.weight"):  # or 33 residual blocks add up
                value *= 0.2
        elif value.dim() == 4:
            value.normal_(std=(2 / value[0].numel()) ** 0.5)
        elif value.is_floating_point():
            value.normal_(std=0.1)
    return state


@pytest.mark.parametrize("make", [vgg, resnet])
@torch.no_grad()
def test_outputs_are_those_that_the_weights_mean(make):
    state = filled(make())
    converted = convert(state)
    model = refinedet.create_model(converted.model, CLASSES, **converted.options).eval()
    model.load_state_dict(converted.state, strict=True)
    images = torch.randn(1, 3, 128, 64)
    want = Released(state).outputs(images, CLASSES)
    got = model.head_outputs(images)
    assert all(0.01 < t.std() < 1000 for t in want)  # nothing has died or exploded on the way
    for a, b in zip(got, want, strict=False):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


def test_data_parallel_prefix_input_size_and_files_without_counters():
    state = {f"module.{key}": value for key, value in on_nothing(vgg, 81).items() if "num_batches" not in key}
    converted = convert(state, input_size=512)
    assert (converted.model, converted.num_classes) == ("efgrnet512_vgg16", 81)
    own = on_meta(converted.model, 81).state_dict()
    assert {k: v.shape for k, v in converted.state.items()} == {k: v.shape for k, v in own.items()}
    assert converted.state["norms.0.num_batches_tracked"].item() == 0


def test_keys_that_do_not_fit_are_named():
    state = on_nothing(resnet)
    del state["extractor.smooth1.bias"], state["bn_layers.2.weight"]
    state["fc.weight"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=r"missing: bn_layers\.2\.weight, extractor\.smooth1\.bias; left over: fc\.wei"
    ):
        convert(state)
    with pytest.raises(ValueError, match="no EFGRNet checkpoint: it has no key 'arm_loc.0.weight'"):
        convert({"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"input_size: expected one of \[512\] for this EFGRNet, got 320"):
        convert(on_nothing(resnet), input_size=320)
    with pytest.raises(ValueError, match=r"input_size: expected one of \[320, 512\] for this EFGRNet, got 300"):
        convert(on_nothing(vgg), input_size=300)


def test_command(tmp_path, capsys):
    """A file as the released training script writes it."""
    state = {key: torch.ones_like(value) for key, value in vgg().items()}
    torch.save({"epoch": 160, "size": "300", "batch_size": 32, "model": state, "optimizer": {}}, tmp_path / "in.pth")
    out = tmp_path / "out.safetensors"
    assert main(["convert", "--from", "efgrnet", str(tmp_path / "in.pth"), str(out)]) == 0, capsys.readouterr().err
    assert "efgrnet320_vgg16 with 4 classes" in capsys.readouterr().out
    loaded = refinedet.load_model(out)
    assert loaded.model.config.peer_compat and loaded.info == {"converted_from": "efgrnet"}
