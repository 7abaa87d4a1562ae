"""Starting from the weights of a file, as far as they fit: what is loaded, new, left over, refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

import refinedet
from refinedet.backbones.backbone_file import Origin, save_backbone
from refinedet.config_files import list_configs, load_config
from refinedet.engine.config import ModelConfig, RunConfig
from refinedet.engine.start import build_model, with_model
from refinedet.engine.train import train
from refinedet.fine_tuning import start_from
from refinedet.nms_config import resolve_nms

NAME = "refinedet192_small"
OPTIONS = {"input_size": 64, "tcb_channels": 16}


@pytest.fixture
def cats(tmp_path):
    """A model of two classes, and its file."""
    torch.manual_seed(1)
    model = refinedet.create_model(NAME, 3, **OPTIONS)
    return model, refinedet.save_model(model, tmp_path / "cats.safetensors", class_names=["cat", "dog"])


def start(file, classes, **changes):
    torch.manual_seed(2)
    return start_from(file, classes, **{"name": NAME, "options": OPTIONS, **changes})


def rows(tensor, classes):
    return tensor.unflatten(0, (-1, classes + 1))


def test_the_same_classes_get_everything(cats):
    model, file = cats
    found = start(file, ["cat", "dog"], strict=True)
    assert found.whole and not found.new and len(found.loaded) == len(model.state_dict())
    new = found.model.state_dict()
    assert all(torch.equal(new[key], value) for key, value in model.state_dict().items())


def test_classes_of_the_same_name_keep_their_rows_and_others_start_anew(cats):
    model, file = cats
    found = start(file, ["horse", "dog", "cow"])
    torch.manual_seed(2)
    fresh = refinedet.create_model(NAME, 4, **OPTIONS).state_dict()
    old, new = model.state_dict(), found.model.state_dict()
    assert (found.kept, found.started, found.dropped) == (["dog"], ["horse", "cow"], ["cat"])
    assert found.new == [] == found.left and not found.whole
    scores = {key for key in new if key.startswith("odm.cls.")}
    assert set(found.partly) == scores and set(found.loaded) == set(new) - scores
    for key in found.loaded:
        assert torch.equal(new[key], old[key])
    for key in found.partly:
        got, before, start_values = rows(new[key], 3), rows(old[key], 2), rows(fresh[key], 3)
        assert torch.equal(got[:, 0], before[:, 0]) and torch.equal(got[:, 2], before[:, 2])
        assert torch.equal(got[:, [1, 3]], start_values[:, [1, 3]])


def test_as_many_classes_of_other_names_do_not_take_over_their_scores(cats):
    model, file = cats
    found = start(file, ["dog", "bird"])
    old, new = (m.state_dict()["odm.cls.0.weight"] for m in (model, found.model))
    assert torch.equal(rows(new, 2)[:, 1], rows(old, 2)[:, 2])
    assert not torch.equal(rows(new, 2)[:, 2], rows(old, 2)[:, 2])
    assert not torch.equal(rows(new, 2)[:, 2], rows(old, 2)[:, 1])


@pytest.mark.parametrize("name", ["efgrnet192_small", "padet192_small", "refinedetlite320_res2netlite72"])
def test_other_detectors_keep_their_rows_too(name, tmp_path):
    torch.manual_seed(0)
    options = {"width": 8, "mid_div": 2, "head_channels": 16, "head_inner": 8} if "lite" in name else {}
    model = refinedet.create_model(name, 4, **options).eval()
    file = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=["a", "b", "c"])
    found = start_from(file, ["c", "new", "a"], name=name)
    images = torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        old, new = (m.head_outputs(images).odm_logits for m in (model, found.model.eval()))
    torch.testing.assert_close(new[..., [0, 1, 3]], old[..., [0, 3, 1]])
    assert found.partly and not torch.allclose(new[..., 2], old[..., 2])


def test_class_weights_stay_with_their_classes(tmp_path):
    model = refinedet.create_model(NAME, 3, **OPTIONS, class_weights=[2.0, 3.0])
    file = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=["cat", "dog"])
    assert start(file, ["dog", "cow"]).model.config.loss.class_weights == (3.0, 1.0)
    given = start(file, ["dog", "cow"], options={**OPTIONS, "class_weights": [4.0, 5.0]})
    assert given.model.config.loss.class_weights == (4.0, 5.0)


def test_a_file_of_plain_tensors_gives_what_fits(cats, tmp_path):
    model, _ = cats
    state = {f"model.{key}": value for key, value in model.state_dict().items() if not key.startswith("tcb")}
    state["model.odm.loc.0.weight"] = torch.zeros(3)
    state["model.other"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    found = start(tmp_path / "last.ckpt", ["a", "b"])
    assert found.kept is None and found.left == ["odm.loc.0.weight", "other"]
    assert "odm.loc.0.weight" in found.new and all(key.startswith(("tcb", "odm.loc.0.weight")) for key in found.new)
    assert torch.equal(found.model.odm.cls[0].weight, model.odm.cls[0].weight)
    text = found.describe()
    assert "2 left over in the file: odm.loc.0.weight, other" in text and "does not name its classes" in text
    with pytest.raises(ValueError, match="expected the weights of refinedet192_small, all of them; .*2 left over"):
        start(tmp_path / "last.ckpt", ["a", "b"], strict=True)
    more = start(tmp_path / "last.ckpt", ["a", "b", "c"])
    assert "odm.cls.0.weight" in more.new and "odm.cls.0.weight" in more.left


def test_a_file_of_which_nothing_fits_is_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match="nothing in .*other.pth fits refinedet192_small, which has .*; the file has fc.w"
    ):
        start(tmp_path / "other.pth", ["a"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "refinedet256_small"},
            "model.name: expected refinedet192_small or nothing, as .* is one, got refinedet",
        ),
        ({"options": {"tcb_channels": 32}}, "model.options.tcb_channels: expected 16 or nothing, as .*, got 32"),
        (
            {"options": {"anchor_sizes": [32, 64, 128, 256]}},
            r"model.options.anchor_sizes: expected \[24, .*\] or nothing, as .*cats.*: its weights were trained so",
        ),
        ({"options": {"channel_order": "rgb"}}, "model.options.channel_order: expected 'bgr' or nothing, as .*cats"),
        ({"options": {"nmss": "coco"}}, "refinedet192_small has no option 'nmss'; did you mean 'nms'"),
        ({"options": {"theta": 2}}, "theta: expected"),
        ({"options": {"input_size": 100}}, "input_size: expected a multiple of 64, got 100"),
        ({"strict": True}, r"expected a model of the classes \['dog'\], .*cats.safetensors has \['cat', 'dog'\]"),
    ],
)
def test_what_contradicts_the_file_is_refused(cats, changes, message):
    with pytest.raises(ValueError, match=message):
        start(cats[1], ["dog"], **changes)


def test_options_that_leave_the_weights_alone_hold_in_place_of_the_files(tmp_path):
    torch.manual_seed(1)
    model = refinedet.create_model(NAME, 3, **OPTIONS, nms="coco", theta=0.9, filtering="paper", negative_ratio=2.0)
    file = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=["cat", "dog"])
    asked = {"nms": "code", "theta": 0.95, "odm_negative_ratio": 5.0, "input_size": 128, "head_std": 0.02}
    tuned = start(file, ["dog", "cow"], options=asked).model
    assert tuned.nms == resolve_nms("code") and tuned.config.theta == tuned.criterion.theta == 0.95
    assert tuned.criterion.config.odm_negative_ratio == 5.0 and tuned.config.input_size == 128
    assert {key: tuned.spec.options[key] for key in asked} == asked
    assert tuned.criterion.config.filtering == "paper"  # what nobody asked for is the file's
    assert torch.equal(tuned.arm.loc[0].weight, model.arm.loc[0].weight)


def test_a_loss_with_weights_of_its_own_starts_them_anew(cats):
    found = start(cats[1], ["cat", "dog"], options={"task_balance": "uncertainty"})
    assert found.model.criterion.balance is not None and found.new == ["criterion.balance.log_variance"]
    with pytest.raises(ValueError, match="expected the weights of refinedet192_small, all of them; .*1 new: criterion"):
        start(cats[1], ["cat", "dog"], options={"task_balance": "uncertainty"}, strict=True)


def coco_model(tmp_path, **options):
    names = [f"other {i}" for i in range(1, 6)] + ["person", "airplane", "couch"]
    torch.manual_seed(1)
    model = refinedet.create_model(NAME, 9, **OPTIONS, **options)
    return model, refinedet.save_model(model, tmp_path / "coco.safetensors", class_names=names)


def test_voc_after_coco_has_vocs_suppression_and_the_weights_of_coco(tmp_path, caplog):
    model, file = coco_model(tmp_path, nms="coco", class_weights=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    wanted = ModelConfig(weights=str(file), options={"nms": "code"}, subsample_classes="voc_in_coco")
    with caplog.at_level(logging.INFO):
        voc = build_model(RunConfig(model=wanted), ["aeroplane", "person", "sofa"])
    assert voc.nms == resolve_nms("code") and voc.spec.options["nms"] == "code" and voc.training
    assert voc.config.loss.class_weights == (7.0, 6.0, 8.0)
    old, new = rows(model.odm.cls[1].weight, 8), rows(voc.odm.cls[1].weight, 3)
    assert torch.equal(new, old[:, [0, 7, 6, 8]])
    assert [r.levelno for r in caplog.records] == [logging.INFO]  # the classes that are left over are no surprise
    assert "classes kept: aeroplane, person, sofa" in caplog.text
    plain = build_model(RunConfig(model=replace(wanted, options={})), ["person"])
    assert plain.nms == resolve_nms("coco")


def test_subsampling_wants_all_classes_and_their_names(cats, tmp_path):
    wanted = RunConfig(model=ModelConfig(weights=str(cats[1]), subsample_classes={"hound": "dog"}))
    assert build_model(wanted, ["hound"]).num_classes == 2
    with pytest.raises(ValueError, match="subsample_classes: .* all classes of the data, .*cats.* has no horse, cow"):
        build_model(wanted, ["hound", "horse", "cow"])
    file = refinedet.save_model(cats[0], tmp_path / "nameless.safetensors")
    with pytest.raises(ValueError, match="subsample_classes: expected .* names its classes, .*nameless.* does not"):
        build_model(replace(wanted, model=replace(wanted.model, weights=str(file))), ["cat"])
    with pytest.raises(ValueError, match="model.options.tcb_channels: expected 16 or nothing"):
        build_model(replace(wanted, model=replace(wanted.model, options={"tcb_channels": 8})), ["hound"])


@pytest.mark.parametrize("name", [name for name in list_configs() if "coco_to_voc" in name])
def test_the_recipes_from_coco_to_voc_say_vocs_suppression(name):
    model = load_config(name)["model"]
    assert model["options"] == {"nms": "code"} and model["subsample_classes"] == "voc_in_coco"


def test_options_that_agree_are_taken_in_any_form(cats):
    options = {"anchor_sizes": [24, 48, 96, 192], "nms": "code", "tcb_channels": 16}
    assert start(cats[1], ["dog"], options=options).model.config.tcb_channels == 16


def test_strict_refuses_another_order(cats):
    assert start(cats[1], ["dog", "cat"]).whole
    with pytest.raises(ValueError, match="expected a model of the classes"):
        start(cats[1], ["dog", "cat"], strict=True)


def test_no_model_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.weights: no file .*absent.safetensors"):
        start(tmp_path / "absent.safetensors", ["a"])
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="model.weights: .*broken.safetensors is not a safetensors file"):
        start(tmp_path / "broken.safetensors", ["a"])
    save_backbone({"a": torch.zeros(1)}, tmp_path / "b.safetensors", Origin("x", {}))
    with pytest.raises(ValueError, match="holds a backbone alone"):
        start(tmp_path / "b.safetensors", ["a"])


def test_a_run_finds_the_name_in_the_file_and_reports(cats, caplog):
    config = RunConfig(model=ModelConfig(weights=str(cats[1])))
    assert with_model(config).model.name == NAME
    assert with_model(RunConfig()).model.name == "refinedet320_vgg16"
    with caplog.at_level(logging.INFO):
        model = build_model(config, ["cow", "dog"])
    assert model.training and model.spec.options["tcb_channels"] == 16
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "classes kept: dog; classes that start anew: cow; classes of the file left over: cat" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        build_model(config, ["cat", "dog"])
    assert [r.levelno for r in caplog.records] == [logging.INFO]
    with pytest.raises(ValueError, match="model.name: expected refinedet192_small or nothing"):
        build_model(replace(config, model=replace(config.model, name="refinedet320_vgg16")), ["cat"])


def test_a_run_fine_tunes_to_other_classes_from_a_model_and_from_a_checkpoint(config, tmp_path):
    config = replace(config, train=replace(config.train, epochs=1))
    first = train(config)
    names = refinedet.load_model(first.last).class_names
    torch.manual_seed(3)
    other = refinedet.create_model(NAME, 3, **config.model.options)
    file = refinedet.save_model(other, tmp_path / "o.safetensors", class_names=["thing", names[0]])
    tuned = train(replace(config, model=ModelConfig(weights=str(file)), output=str(tmp_path / "tuned")))
    assert tuned.model == NAME and refinedet.load_model(tuned.last).class_names == names
    written = (tmp_path / "tuned" / "config.yaml").read_text()
    assert f"name: {NAME}" in written
    checkpoint = str(first.output / "checkpoints" / "last.ckpt")
    again = build_model(replace(config, model=replace(config.model, weights=checkpoint, strict=True)), names)
    want = refinedet.load_model(first.last).model.state_dict()
    assert all(torch.equal(value, want[key]) for key, value in again.state_dict().items())
