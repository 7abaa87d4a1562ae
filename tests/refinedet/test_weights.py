from __future__ import annotations

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file

import refinedet
from refinedet import tensor_file
from refinedet.weights import read_header

NAMES = ["red", "white", "platelet"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return refinedet.create_model("refinedet192_small", 4, theta=0.95, nms={"keep_top_k": 20}, tcb_channels=16).eval()


def test_a_file_is_enough_to_rebuild_the_model(model, tmp_path):
    path = refinedet.save_model(model, tmp_path / "sub" / "m.safetensors", class_names=NAMES, info={"AP50": 0.5})
    checkpoint = refinedet.load_model(path)
    assert checkpoint.class_names == NAMES and checkpoint.info == {"AP50": 0.5}
    assert checkpoint.model.spec == model.spec and checkpoint.model.config == model.config
    assert not checkpoint.model.training
    images = torch.randn(1, 3, 192, 192)
    for a, b in zip(model(images), checkpoint.model(images), strict=True):
        assert torch.equal(a, b)


def test_options_can_change_at_loading(model, tmp_path):
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    loaded = refinedet.load_model(path, nms="coco", theta=1.0).model
    assert loaded.nms.method == "linear" and loaded.config.theta == 1.0
    assert refinedet.load_model(path).class_names is None


def test_a_file_from_before_each_stage_had_its_own_negatives(tmp_path):
    """Its one ratio is that of both stages, also of a model whose default is another now."""
    model = refinedet.create_model("padet192_small", 4, decoder_channels=8, input_size=128, negative_ratio=2.0)
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    header = tensor_file.read_header(path)
    options = header["model"]["options"]
    assert options.pop("arm_negative_ratio") == options.pop("odm_negative_ratio") == 2.0
    options["negative_ratio"] = 2.0
    tensor_file.write_tensors(model.state_dict(), path, header)
    loaded = refinedet.load_model(path).model
    assert loaded.spec == model.spec and loaded.config.loss.odm_negative_ratio == 2.0
    assert refinedet.load_model(path, negative_ratio=1.0).model.config.loss.arm_negative_ratio == 1.0


def test_layout_of_the_weights_does_not_matter(tmp_path):
    model = refinedet.create_model("refinedet192_small", 4).to(memory_format=torch.channels_last)
    loaded = refinedet.load_model(refinedet.save_model(model, tmp_path / "m.safetensors")).model
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))


def test_an_older_file_stays_until_the_new_one_is_complete(model, tmp_path, monkeypatch):
    path = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=NAMES)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        refinedet.save_model(model, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_umask_gives(model, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = refinedet.save_model(model, tmp_path / "m.safetensors")
        refinedet.save_model(model, path)  # over an older one, too
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_header_can_be_read_alone(model, tmp_path):
    header = read_header(refinedet.save_model(model, tmp_path / "m.safetensors", class_names=NAMES))
    assert header["model"]["name"] == "refinedet192_small" and header["model"]["options"]["theta"] == 0.95


def test_wrong_arguments_are_named(model, tmp_path):
    with pytest.raises(ValueError, match="path: expected a file name that ends in .safetensors, got .*m.pth"):
        refinedet.save_model(model, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="class_names: expected 3 names, one per foreground class, got 1"):
        refinedet.save_model(model, tmp_path / "m.safetensors", class_names=["red"])
    by_hand = refinedet.RefineDet(refinedet.backbones.SmallNet(), refinedet.RefineDetConfig(), 4)
    with pytest.raises(ValueError, match="model: expected one that create_model built"):
        refinedet.save_model(by_hand, tmp_path / "m.safetensors")


def test_files_of_others_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights: no file .*none.safetensors"):
        refinedet.load_model(tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="junk.safetensors is not a safetensors file"):
        refinedet.load_model(tmp_path / "junk.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="plain.safetensors was not written by refinedet.save_model"):
        refinedet.load_model(tmp_path / "plain.safetensors")


def rewrite(path, change_header=lambda header: None, change_tensors=lambda tensors: None):
    header, tensors = read_header(path), load_file(path)
    change_header(header)
    change_tensors(tensors)
    save_file(tensors, path, metadata={"refinedet": json.dumps(header)})


def test_weights_that_do_not_fit_name_the_keys(model, tmp_path):
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    rewrite(path, change_tensors=lambda tensors: tensors.pop("odm.cls.0.bias"))
    with pytest.raises(ValueError, match="m.safetensors does not fit RefineDet; missing: odm.cls.0.bias"):
        refinedet.load_model(path)


def test_a_newer_format_is_refused(model, tmp_path):
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    rewrite(path, change_header=lambda header: header.update(version=99))
    with pytest.raises(ValueError, match="has format version 99, this package reads up to 1"):
        refinedet.load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model.name: expected str, got None"),
        ({"model": {"name": "refinedet192_small"}}, "model.num_classes: expected int, got None"),
        ({"version": "1"}, "version: expected int, got '1'"),
        ({"info": 3}, "info: expected dict, got 3"),
        ({"class_names": ["red"]}, "class_names: expected 3 names, one per foreground class, got 1"),
        ({"class_names": [1, 2, 3]}, "classes: expected names, got 1"),
    ],
)
def test_a_damaged_header_is_named(model, tmp_path, change, message):
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    rewrite(path, change_header=lambda header: header.update(change))
    with pytest.raises(ValueError, match=f"weights: the header of {path} is damaged: {message}"):
        refinedet.load_model(path)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "3", "null"])
def test_a_header_that_is_no_json_is_named(model, tmp_path, text):
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    save_file(load_file(path), path, metadata={"refinedet": text})
    with pytest.raises(ValueError, match=f"weights: the header of {path} is damaged: "):
        refinedet.load_model(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tcb_channels": 32},
            "tcb_channels: expected 16 or nothing, as .*m.safetensors has it.*got 32; what may be an",
        ),
        ({"clip_anchors": True}, "clip_anchors: expected False or nothing, as .*m.safetensors has it.*got True"),
        ({"pixel_mean": [0, 0, 0]}, r"pixel_mean: expected \[104"),
        ({"nsm": "coco"}, "refinedet192_small has no option 'nsm'; did you mean 'nms'"),
        ({"nms": "voc"}, "nms: expected one of"),
    ],
)
def test_options_that_belong_to_the_weights_are_refused(options, message, tmp_path):
    model = refinedet.create_model("refinedet192_small", 3, tcb_channels=16)
    file = refinedet.save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match=message):
        refinedet.load_model(file, **options)
    assert refinedet.load_model(file, tcb_channels=16, negative_ratio=1.0).model.config.loss.odm_negative_ratio == 1
