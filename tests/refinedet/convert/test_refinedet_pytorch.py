from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.convert import convert_checkpoint
from refinedet.convert.refinedet_pytorch import convert
from refinedet.data import COCO_CLASSES
from refinedet.weights import read_header


def layer(name, *shape):
    return {f"{name}.weight": torch.randn(shape) * 0.01, f"{name}.bias": torch.randn(shape[0]) * 0.01}


def checkpoint(classes=21):
    """The names and shapes that the public implementation's `state_dict` has."""
    torch.manual_seed(0)
    state = {}
    trunk = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    trunk |= {17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}
    for index, shape in (trunk | {31: (1024, 512)}).items():
        state |= layer(f"vgg.{index}", *shape, 3, 3)
    state |= layer("vgg.33", 1024, 1024, 1, 1) | layer("extras.0", 256, 1024, 1, 1) | layer("extras.1", 512, 256, 3, 3)
    state |= {"conv4_3_L2Norm.weight": torch.full((512,), 10.0), "conv5_3_L2Norm.weight": torch.full((512,), 8.0)}
    for level, width in enumerate((512, 512, 1024, 512)):
        state |= layer(f"arm_loc.{level}", 12, width, 3, 3) | layer(f"arm_conf.{level}", 6, width, 3, 3)
        state |= layer(f"odm_loc.{level}", 12, 256, 3, 3) | layer(f"odm_conf.{level}", 3 * classes, 256, 3, 3)
        state |= layer(f"tcb0.{3 * level}", 256, width, 3, 3) | layer(f"tcb0.{3 * level + 2}", 256, 256, 3, 3)
        state |= layer(f"tcb2.{3 * level + 1}", 256, 256, 3, 3)
        if level < 3:
            state[f"tcb1.{level}.weight"] = torch.randn(256, 256, 2, 2) * 0.01
            state[f"tcb1.{level}.bias"] = torch.randn(256) * 0.01
    return state


def test_every_tensor_finds_its_place():
    state = checkpoint()
    converted = convert(state)
    assert (converted.model, converted.num_classes) == ("refinedet320_vgg16", 21)
    model = refinedet.create_model(converted.model, 21, **converted.options)
    model.load_state_dict(converted.state, strict=True)
    assert model.config.channel_order == "rgb" and model.config.clip_anchors
    assert torch.equal(model.tcb.blocks[2].deconv.weight, state["tcb1.2.weight"])
    assert torch.equal(model.odm.cls[3].bias, state["odm_conf.3.bias"])
    assert len(converted.state) == len(state)


def test_same_first_stage_as_written_out():
    """The first level of the ARM, computed from the foreign names with plain functions."""
    state = checkpoint()
    converted = convert(state)
    model = refinedet.create_model(converted.model, 21, **converted.options).eval()
    model.load_state_dict(converted.state)
    x = images = torch.randn(1, 3, 64, 64)
    conv = torch.nn.functional.conv2d
    for index in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21):
        if index in (5, 10, 17):
            x = torch.nn.functional.max_pool2d(x, 2)
        x = conv(x, state[f"vgg.{index}.weight"], state[f"vgg.{index}.bias"], padding=1).relu()
    x = x / x.pow(2).sum(1, keepdim=True).sqrt() * state["conv4_3_L2Norm.weight"].view(1, -1, 1, 1)
    deltas = (
        conv(x, state["arm_loc.0.weight"], state["arm_loc.0.bias"], padding=1).permute(0, 2, 3, 1).reshape(1, -1, 4)
    )
    got = model.head_outputs(images).arm_deltas[:, : deltas.shape[1]]
    torch.testing.assert_close(got, deltas, rtol=1e-4, atol=1e-4)


def test_data_parallel_prefix_and_other_class_counts():
    state = {f"module.{key}": value for key, value in checkpoint(classes=6).items()}
    converted = convert(state, input_size=512)
    assert (converted.model, converted.num_classes) == ("refinedet512_vgg16", 6)


def test_keys_that_do_not_fit_are_named():
    state = checkpoint()
    del state["tcb1.0.bias"]
    state["fc8.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"missing: tcb1\.0\.bias; left over: fc8\.weight"):
        convert(state)
    with pytest.raises(ValueError, match="no RefineDet.PyTorch checkpoint: it has no key 'arm_loc.0.weight'"):
        convert({"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="input_size: expected 320 or 512 for RefineDet.PyTorch, got 300"):
        convert(checkpoint(), input_size=300)


def test_command(tmp_path, capsys):
    torch.save(checkpoint(), tmp_path / "in.pth")
    out = tmp_path / "out.safetensors"
    arguments = ["convert", "--from", "refinedet.pytorch", str(tmp_path / "in.pth"), str(out)]
    assert main(arguments) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "refinedet320_vgg16" in printed
    assert "class names: taken to be those of PASCAL VOC, as there are 20" in printed
    loaded = refinedet.load_model(out)
    assert loaded.class_names[0] == "aeroplane" and loaded.info == {"converted_from": "refinedet.pytorch"}
    assert main([*arguments[:2], "nothing", *arguments[3:]]) == 1
    assert "source: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("classes", "given", "names", "report"),
    [
        (81, None, list(COCO_CLASSES), "taken to be those of COCO, as there are 80"),
        (3, None, None, "not known, give --class_names"),
        (3, ["cell", "platelet"], ["cell", "platelet"], "as given"),
        (21, [f"thing {i}" for i in range(20)], [f"thing {i}" for i in range(20)], "as given"),
    ],
)
def test_class_names_follow_from_their_number_unless_given(classes, given, names, report, tmp_path, capsys):
    torch.save(checkpoint(classes), tmp_path / "in.pth")
    out = tmp_path / "out.safetensors"
    arguments = ["convert", "--from", "refinedet.pytorch", str(tmp_path / "in.pth"), str(out)]
    assert main(arguments + ([] if given is None else [f"--class_names={given}"])) == 0, capsys.readouterr().err
    assert f"class names: {report}\n" in capsys.readouterr().out
    assert read_header(out)["class_names"] == names


def test_wrong_source_is_refused(tmp_path):
    with pytest.raises(ValueError, match="source: expected"):
        convert_checkpoint("caffe", tmp_path / "x.pth", tmp_path / "y.safetensors")
