"""From a model file to what test servers take, by the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.data import COCODetection
from refinedet.engine import RunConfig, SplitConfig
from refinedet.engine.train import train
from refinedet.weights import save_model


@pytest.fixture(scope="module")
def weights(rendered: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    names = COCODetection(rendered / "test", rendered / "annotations/test.json").class_names
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", len(names) + 1, input_size=64, tcb_channels=16)
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, file, class_names=names)
    return str(file)


@pytest.fixture
def info(rendered: Path, tmp_path: Path) -> Path:
    """The test images as COCO publishes those of test-dev, with gaps between the categories' ids."""
    content = json.loads((rendered / "annotations/test.json").read_text())
    del content["annotations"]
    content["categories"] = [{**one, "id": 10 * one["id"] + 3} for one in reversed(content["categories"])]
    file = tmp_path / "image_info_test-dev2017.json"
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def voc(rendered: Path, tmp_path: Path) -> Path:
    """The test images in VOC's layout, without XML files; the list spaces has an id with a space."""
    root = tmp_path / "VOC2012"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    images = sorted((rendered / "test").glob("*.*"))
    for image in images:
        shutil.copy(image, root / "JPEGImages")
    shutil.copy(images[0], root / f"JPEGImages/an image{images[0].suffix}")
    (root / "ImageSets/Main/test.txt").write_text("\n".join(image.stem for image in images))
    (root / "ImageSets/Main/spaces.txt").write_text("an image")
    return root


def test_coco_test_dev(weights: str, rendered: Path, info: Path, tmp_path: Path, capsys) -> None:
    data = [f"--data.root={rendered}", f"--data.test.annotation_file={info}", "--data.test.image_dir=test"]
    out = tmp_path / "out"
    assert main(["eval", f"--weights={weights}", *data, "--data.workers=0", f"--output={out}"]) == 0
    assert "nothing is measured" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["detections.json"]
    results = json.loads((out / "detections.json").read_text())
    content = json.loads(info.read_text())
    assert {entry["image_id"] for entry in results} == {image["id"] for image in content["images"]}
    assert {entry["category_id"] for entry in results} <= {one["id"] for one in content["categories"]}
    assert all(set(entry) == {"image_id", "category_id", "bbox", "score"} for entry in results)
    numbers = refinedet.evaluate(
        weights, rendered, data={"test": {"annotation_file": str(info), "image_dir": "test"}, "workers": 0}
    )
    assert numbers == {"images": 4, "detections": len(results), "unreadable": 0}


@pytest.mark.parametrize("part", ["train", "val"])
def test_nothing_is_trained_on_images_alone(config: RunConfig, info: Path, part: str) -> None:
    split = SplitConfig(image_dir="test", annotation_file=str(info))
    with pytest.raises(ValueError, match=f"data.{part}: expected images with annotations, got COCO .*image_info"):
        train(replace(config, data=replace(config.data, **{part: split})))
    assert not Path(str(config.output)).exists()


def test_voc_server(weights: str, voc: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = ["eval", f"--weights={weights}", f"--data.root={voc}", "--data.test.split=test", "--data.workers=0"]
    ask = [*command, "--kind=voc12", "--competition=comp4", f"--output={out}"]
    assert main(ask) == 0
    assert "nothing is measured" in capsys.readouterr().out
    files = sorted((out / "results/VOC2012/Main").iterdir())
    assert [file.name for file in files][0] == "comp4_det_test_cross.txt" and len(files) == 6
    lines = [line.split(" ") for file in files for line in file.read_text().splitlines()]
    assert len(lines) == len(json.loads((out / "detections.json").read_text()))
    assert {line[0] for line in lines} <= set((voc / "ImageSets/Main/test.txt").read_text().split())
    assert all(len(line) == 6 and min(map(float, line[2:])) >= 1 for line in lines)
    (out / "detections.json").unlink()
    assert main(ask) == 1  # the files are there
    assert "comp4_det_test_" in capsys.readouterr().err
    assert main([*command, f"--output={tmp_path / 'plain'}"]) == 0  # as a data set to predict on


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.test.split=test", "--competition=comp3"], "kind: expected voc07 or voc12 beside competition"),
        (["--data.test.split=spaces", "--competition=comp3", "--kind=voc12"], "got 'an image'"),
    ],
)
def test_what_the_server_would_not_take(weights, voc, tmp_path, options, message, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["eval", f"--weights={weights}", f"--data.root={voc}", *options, f"--output={out}"]
    assert main([*arguments, "--data.workers=0"]) == 1
    assert message in capsys.readouterr().err and not out.exists()
