from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import refinedet
from refinedet.cli import main
from refinedet.config_files import RECIPES, list_configs, load_config
from refinedet.data.synthetic import render_dataset
from refinedet.weights import save_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    model = refinedet.create_model("refinedet192_small", num_classes=7, input_size=64, tcb_channels=16)
    names = ["disc", "square", "triangle", "star", "ring", "cross"]
    return save_model(model, tmp_path_factory.mktemp("weights") / "model.safetensors", class_names=names)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    render_dataset(root, train=2, test=3, size=96, seed=2)
    return root


def test_every_shipped_configuration_parses(capsys):
    assert list_configs(), "no configuration came along"
    for name in list_configs():
        with pytest.raises(SystemExit) as done:
            main(["pretrain" if name in RECIPES.values() else "train", "--config", name, "--print_config"])
        assert done.value.code in (0, None), name
        printed = yaml.safe_load(capsys.readouterr().out)
        assert printed["model"]["name"] == load_config(name).get("model", {}).get("name")
        assert printed["output"] == (None if name in ("own_data", *RECIPES.values()) else f"runs/{Path(name).name}")


def test_models_of_shipped_configurations_exist():
    for name in list_configs():
        model = load_config(name).get("model")
        if name in RECIPES.values():  # for any of them
            assert model is None
            continue
        entry = refinedet.model_entry(model["name"])
        assert set(model.get("options", {})) <= set(entry.options), name


def test_eval_takes_the_suppression_of_a_runs_configuration(weights, images, tmp_path, capsys):
    """What a data set's protocol says is the configuration's, what the weights say is the file's."""
    data = {"format": "coco", "root": str(images)}
    data["test"] = {"image_dir": "test", "annotation_file": "annotations/test.json"}
    run = {
        "model": {"name": "refinedet192_small", "options": {"nms": {"preset": "coco", "keep_top_k": 3}}},
        "data": data,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(run))

    def most(name, *more):
        """The largest number of detections of an image."""
        out = tmp_path / name
        arguments = ["eval", "--config", str(tmp_path / "config.yaml"), "--weights", str(weights), "--output", str(out)]
        assert main([*arguments, *more]) == 0, capsys.readouterr().err
        found = [entry["image_id"] for entry in json.loads((out / "detections.json").read_text())]
        return max(map(found.count, found))

    assert most("named") == 3 and most("typed", "--nms.keep_top_k", "2") == 2 and most("preset", "--nms", "code") > 3


def test_options_of_the_model_are_refused_where_there_are_none(weights, capsys):
    for command in ("eval", "predict", "export"):
        assert main([command, "--weights", str(weights), "--model.options.nms", "coco"]) == 2
        assert "did you mean --nms" in capsys.readouterr().err


def test_predict_draws_and_lists(weights, images, tmp_path, capsys):
    out = tmp_path / "out"
    status = main(
        ["predict", "--weights", str(weights), "--output", str(out), "--score_threshold=0.0", str(images / "test")]
    )
    assert status == 0
    content = json.loads((out / "detections.json").read_text())
    assert len(content["images"]) == 3 and content["class_names"][0] == "disc"
    assert content["images"][0]["width"] == 96
    drawn = sorted(out.glob("*.jpg"))
    assert len(drawn) == 3
    before = cv2.imread(content["images"][0]["path"])
    after = cv2.imread(str(out / (Path(content["images"][0]["path"]).name)))
    assert after.shape == before.shape and (after != before).any()
    assert "detections in 3 images" in capsys.readouterr().out


def test_predict_keeps_images_of_one_name_apart(weights, tmp_path):
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(str(tmp_path / folder / "x.png"))
        cv2.imwrite(paths[-1], np.zeros((40, 50, 3), np.uint8))
    assert main(["predict", "--weights", str(weights), "--output", str(tmp_path / "out"), *paths]) == 0
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["x.png", "x_2.png"]


def test_predict_does_not_write_over_its_images(weights, tmp_path, capsys):
    image = tmp_path / "own.png"
    cv2.imwrite(str(image), np.full((60, 80, 3), 90, np.uint8))
    before = image.read_bytes()
    assert main(["predict", "--weights", str(weights), "--output", str(tmp_path), str(image)]) == 1
    assert "output: expected another folder than the images'" in capsys.readouterr().err
    assert image.read_bytes() == before and list(tmp_path.iterdir()) == [image]


def test_eval_writes_its_files(weights, images, tmp_path, capsys):
    out = tmp_path / "eval"
    data = ["--data.format=coco", f"--data.root={images}", "--data.test.image_dir=test", "--data.workers=0"]
    data.append("--data.test.annotation_file=annotations/test.json")
    assert main(["eval", "--weights", str(weights), "--output", str(out), *data]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 3 and metrics["split"] == "test" and 0 <= metrics["AP"] <= 1
    assert json.loads((out / "detections.json").read_text()) is not None
    assert (out / "precision_recall.png").stat().st_size > 0
    assert "AP50" in capsys.readouterr().out


def test_info(capsys):
    assert main(["info"]) == 0
    assert "refinedet320_vgg16" in capsys.readouterr().out
    assert main(["info", "refinedet320_vgg16"]) == 0
    assert "34,440,884" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--train.epochs=1", "--data.root=/nowhere", "--data.train.split=train"], "/nowhere"),
        (["train", "--train.epochs=1"], "data.root: expected the folder of the data set, got nothing"),
        (["predict", "--weights", "none.safetensors", "x.jpg"], "weights: no file none.safetensors"),
        (["info", "refinedet320_vg16"], "no model 'refinedet320_vg16'; did you mean 'refinedet320_vgg16'"),
    ],
)
def test_what_fails_is_one_clear_line(arguments, message, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("refinedet: error: ") and message in error
    assert "\n" not in error and "Traceback" not in error


def test_missing_image_is_named(weights, tmp_path, capsys):
    assert main(["predict", "--weights", str(weights), "--output", str(tmp_path), str(tmp_path / "no.jpg")]) == 1
    assert "no.jpg" in capsys.readouterr().err


def test_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("refinedet.cli.NEEDED", ("torch", "no_such_package"))
    assert main(["info"]) == 1
    error = capsys.readouterr().err
    assert "the detectors need no_such_package, not installed here: pip install no_such_package" in error


@pytest.mark.parametrize("command", ["eval", "predict", "export"])
def test_help_says_where_the_presets_differ_from_the_released_code(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "where the released code that coco and efgrnet stand for counts x2 - x1 + 1" in text


def test_an_input_size_that_does_not_fit_is_named(weights, images, capsys):
    data = ["--data.format=coco", f"--data.root={images}", "--data.test.image_dir=test", "--data.workers=0"]
    data.append("--data.test.annotation_file=annotations/test.json")
    for size, message in ((0, "an integer of at least 1, got 0"), (100, "a multiple of 64, got 100")):
        assert main(["eval", "--weights", str(weights), "--input_size", str(size), *data]) == 1
        assert f"input_size: expected {message}" in capsys.readouterr().err


def test_files_that_cannot_be_written_are_refused_before_anything_is_computed(weights, tmp_path, capsys, monkeypatch):
    def no_model(*args, **options):
        pytest.fail("the model was loaded")

    monkeypatch.setattr("refinedet.weights.load_model", no_model)
    monkeypatch.setattr("refinedet.engine.evaluate.load_any", no_model)
    missing = tmp_path / "no" / "model.onnx"
    assert main(["export", "--weights", str(weights), "--output", str(missing)]) == 1
    assert f"output: there is no folder {missing.parent} to write model.onnx into" in capsys.readouterr().err
    for command in (["eval", "--weights", str(weights)], ["demo"]):
        assert main([*command, "--output", str(weights)]) == 1
        assert f"output: expected a folder, {weights} is none" in capsys.readouterr().err
    assert main(["convert", "--from", "efgrnet", "none.pth", str(weights / "m.safetensors")]) == 1
    assert f"output: expected a folder, {weights} is none" in capsys.readouterr().err
