"""`refinedet analyse`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import pytest
import yaml

import refinedet
from refinedet.cli import main
from refinedet.engine.analyse import RESULTS
from refinedet.weights import save_model

NAMES = ["disc", "square", "triangle", "star", "ring", "cross"]


@pytest.fixture
def perfect(rendered: Path, tmp_path: Path) -> Path:
    """An evaluation's folder whose detections are the ground truth of the held-out images."""
    truth = json.loads((rendered / "annotations/test.json").read_text())
    found = [{key: one[key] for key in ("image_id", "category_id", "bbox")} for one in truth["annotations"]]
    folder = tmp_path / "eval"
    folder.mkdir()
    (folder / "detections.json").write_text(json.dumps([{**one, "score": 0.9} for one in found]))
    return folder


@pytest.fixture
def data(rendered: Path) -> list[str]:
    return [
        f"--data.root={rendered}",
        "--data.format=coco",
        "--data.test.image_dir=test",
        "--data.test.annotation_file=annotations/test.json",
        "--data.workers=0",
    ]


@pytest.fixture
def run(rendered: Path, tmp_path: Path) -> Path:
    """What a training leaves: a configuration and the best model."""
    folder = tmp_path / "run"
    model = refinedet.create_model("refinedet192_small", num_classes=7, input_size=64, tcb_channels=16)
    save_model(model, folder / "best.safetensors", class_names=NAMES)
    part = {"image_dir": "test", "annotation_file": "annotations/test.json"}
    config = {
        "model": {"name": "refinedet192_small"},
        "data": {"format": "coco", "root": str(rendered), "val": part, "workers": 0},
        "evaluation": {"kind": "voc07"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_detections_that_are_all_correct(
    perfect: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    detections = f"--detections={perfect / 'detections.json'}"
    groups = '--groups={"round": ["disc", "ring"]}'
    assert main(["analyse", detections, f"--output={output}", groups, *data]) == 0
    text = capsys.readouterr().out
    assert "what errors cost" in text and "anchors of an image" not in text and "anchors.png" not in text
    assert {file.name for file in output.iterdir()} == set(RESULTS) - {"anchors.png", "mistakes.jpg"}
    assert (output / "summary.txt").read_text() in text
    content = json.loads((output / "analysis.json").read_text())
    assert content["error_costs"]["AP50"] == 1.0 and set(content["error_costs"]["counts"].values()) == {0}
    assert content["groups"]["members"]["round"] == ["disc", "ring"] and content["split"] == "test"
    assert content["scores"]["all"]["best"]["f1"] == 1.0 and content["confusion"]["threshold"] == 0.9
    assert content["mistakes"] == {"threshold": 0.9, "images": []} and "most mistakes" not in text


def test_the_images_with_most_mistakes_are_drawn(
    perfect: Path, rendered: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of three images one loses all its detections, and another gets one of nothing."""
    truth = json.loads((rendered / "annotations/test.json").read_text())
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    found = json.loads((perfect / "detections.json").read_text())
    (most, missed), (wrong, _), *_ = Counter(one["image_id"] for one in found).most_common()
    found = [one for one in found if one["image_id"] != most]
    found.append({"image_id": wrong, "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.95})
    (perfect / "detections.json").write_text(json.dumps(found))
    output = tmp_path / "out"
    assert main(["analyse", f"--detections={perfect / 'detections.json'}", f"--output={output}", *data]) == 0
    text = capsys.readouterr().out
    assert "most mistakes at a score of 0.900" in text and "mistakes.jpg" in text
    images = json.loads((output / "analysis.json").read_text())["mistakes"]["images"]
    assert [(Path(one["file"]).name, one["missed"], one["wrong"]) for one in images] == [
        (Path(names[most]).name, missed, 0),
        (Path(names[wrong]).name, 0, 1),
    ]
    picture = cv2.imread(str(output / "mistakes.jpg"))
    yellow = (picture[..., 0] < 60) & (picture[..., 1] > 180) & (picture[..., 2] > 220)
    red = (picture[..., 0] < 90) & (picture[..., 1] < 90) & (picture[..., 2] > 190)
    assert yellow.sum() > 200 and red.sum() > 20


def test_the_folder_of_an_evaluation_says_the_rest(
    perfect: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = run / "best.safetensors"
    (perfect / "metrics.json").write_text(json.dumps({"weights": str(weights), "split": "val"}))
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/analyse", "runs/analyse-2"):
        assert main(["analyse", str(perfect)]) == 0
        assert f"written to {folder}/" in capsys.readouterr().out
        content = json.loads(Path(folder, "analysis.json").read_text())
        assert content["split"] == "val" and content["weights"] is None and "anchors" not in content
        assert content["error_costs"]["AP50"] == 1.0


def test_supercategories_of_the_data_are_the_groups(perfect: Path, rendered: Path, tmp_path: Path) -> None:
    truth = json.loads((rendered / "annotations/test.json").read_text())
    for category in truth["categories"]:
        category["supercategory"] = "round" if category["name"] in ("disc", "ring") else "angular"
    (tmp_path / "super.json").write_text(json.dumps(truth))
    output = tmp_path / "out"
    data = [f"--data.test.annotation_file={tmp_path / 'super.json'}", f"--data.test.image_dir={rendered / 'test'}"]
    assert main(["analyse", str(perfect), f"--output={output}", "--data.workers=0", *data]) == 0
    groups = json.loads((output / "analysis.json").read_text())["groups"]
    assert groups["source"] == "the supercategories of the data" and groups["members"]["round"] == ["disc", "ring"]


def test_the_folder_of_a_training_is_measured_first(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "out"
    monkeypatch.chdir(run.parent)
    assert main(["analyse", run.name, "--split=val", f"--output={output}"]) == 0
    files = {file.name for file in output.iterdir()}
    assert files == {*RESULTS, "metrics.json", "table.txt", "detections.json", "precision_recall.png"}
    content = json.loads((output / "analysis.json").read_text())
    assert content["weights"] == str(run / "best.safetensors") and content["anchors"]["images"] == 4
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["weights"] == content["weights"]  # found again from any folder
    assert content["accuracy"]["all"]["AP"] == pytest.approx(metrics["AP"])
    assert content["detections"] == metrics["detections"]
    # and the same from the folder that this made, with the model beside it
    again = tmp_path / "again"
    weights = f"--weights={run / 'best.safetensors'}"
    assert main(["analyse", str(output), weights, f"--output={again}"]) == 0
    other = json.loads((again / "analysis.json").read_text())
    assert other["anchors"] == content["anchors"] and other["error_costs"] == content["error_costs"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 1, "detections, weights: expected a file of detections, a model file or both, got neither"),
        (["{empty}"], 2, "run: expected the folder of an evaluation (detections.json) or of a training"),
        (["--detections=no.json"], 1, "detections: no file no.json"),
        (["{eval}", "--input_size=64"], 1, "input_size: expected None without the weights of a model, got 64"),
        (["{eval}", '--groups={"x": ["oval"]}'], 1, "groups.x: expected classes out of disc"),
        (["{eval}", "--split=all"], 2, "split: expected one of train, val, test, got all"),
    ],
)
def test_what_is_refused(
    perfect: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments, status, message
) -> None:
    words = [word.format(empty=tmp_path, eval=perfect) if word.startswith("{e") else word for word in arguments]
    assert main(["analyse", *words, f"--output={tmp_path / 'out'}", *data]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "expected keys and values in")])
def test_metrics_that_cannot_be_read(
    perfect: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (perfect / "metrics.json").write_text(text)
    assert main(["analyse", str(perfect)]) == 2
    assert message in capsys.readouterr().err


def test_detections_of_other_images_and_files_that_are_there(
    perfect: Path, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/scores.png").write_text("mine")
    assert main(["analyse", str(perfect), f"--output={tmp_path / 'full'}", *data]) == 1
    assert "scores.png exists; give another folder" in capsys.readouterr().err
    entries = json.loads((perfect / "detections.json").read_text())
    (perfect / "detections.json").write_text(json.dumps([{**entries[0], "image_id": "elsewhere"}]))
    assert main(["analyse", str(perfect), f"--output={tmp_path / 'out'}", *data]) == 1
    assert "entry 0: image_id: no such image 'elsewhere'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
