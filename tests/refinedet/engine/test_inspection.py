"""`refinedet data`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet.cli import main
from refinedet.data.annotations import AnnotationTable
from refinedet.engine.inspection import sheet_order

from ..data.makers import coco_content, coco_object, make_coco, make_voc, noise, voc_object, voc_xml
from .test_bad_images import damage

CAR = voc_xml([voc_object("car", (1, 1, 20, 30))])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """VOC: two images of train are also in val, one of them compressed again; an image of val cannot be decoded."""
    root = tmp_path / "data"
    make_voc(root, {f"t{i}": CAR for i in range(4)}, split="train", extension=".png")
    make_voc(root, {f"v{i}": voc_xml([voc_object("dog", (2, 2, 30, 30))]) for i in range(4)}, split="val")
    for i in range(4):
        (root / f"JPEGImages/v{i}.jpg").unlink()
        smooth = cv2.resize(noise(8, 6, seed=10 + i), (64, 48), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(root / f"JPEGImages/v{i}.png"), smooth)
    shutil.copy(root / "JPEGImages/t0.png", root / "JPEGImages/v0.png")
    smooth = cv2.imread(str(root / "JPEGImages/v1.png"))
    assert cv2.imwrite(str(root / "JPEGImages/t1.png"), cv2.convertScaleAbs(smooth, alpha=1, beta=5))
    damage(root / "JPEGImages/v3.png")
    return root


def test_from_the_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    arguments = ["--data.classes=[car, dog]", "--model=refinedet192_small", f"--output={output}"]
    assert main(["data", str(root), *arguments]) == 0
    text = capsys.readouterr().out
    assert "no objects in train of: dog" in text and "no objects in val of: car" in text
    assert "1 image cannot be decoded:\n  - cannot decode" in text and "v3.png" in text
    assert "1 image of val: the same file as one of train" in text
    assert "1 image of val: nearly the same picture as one of train" in text
    assert "what is in two parts is measured on what was trained on" in text
    assert "anchors of refinedet192_small at 192 px" in text
    files = {path.name for path in output.iterdir()}
    assert files == {"summary.txt", "data.json", "classes.png", "boxes.png", "sheet.png", "duplicates.png"}
    assert (output / "summary.txt").read_text() in text
    content = json.loads((output / "data.json").read_text())
    assert content["parts"]["val"]["per_class"] == [0, 4] and len(content["unreadable"]) == 1
    assert "t0.png" in content["duplicates"]["exact"][0][0] and "v0.png" in content["duplicates"]["exact"][0][1]
    assert content["anchors"][0]["input_size"] == 192
    assert content["anchors"][0]["coverage"]["all"]["boxes"] == 4


def test_a_data_set_without_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = coco_content(6)
    content["annotations"] = [coco_object(10 * (i + 1), 3, [1, 1, 9 + i, 9]) for i in range(6)]
    (tmp_path / "data").mkdir()
    make_coco(tmp_path / "data", content)
    command = ["data", str(tmp_path / "data"), "--model=refinedet192_small", f"--output={tmp_path / 'out'}"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "no duplicates" in text and "cannot be decoded" not in text and "problem" not in text
    assert not (tmp_path / "out/duplicates.png").exists()


def test_what_is_refused(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        ([str(root), "--data.root=/elsewhere"], "root, data.root: expected one of them"),
        ([str(root), "--model=refinedet192_smal"], "did you mean 'refinedet192_small'"),
        ([str(tmp_path / "no")], "no such folder"),
    ):
        assert main(["data", *arguments, f"--output={tmp_path / 'out'}"]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/data.json").write_text("mine")
    assert main(["data", str(root), f"--output={tmp_path / 'full'}"]) == 1
    assert "data.json exists; give another folder" in capsys.readouterr().err


def test_every_class_is_early_in_the_sheet() -> None:
    labels = [[1, 1], [1], [2], [1, 3], [1], []]
    counts = [len(one) for one in labels]
    total = sum(counts)
    table = AnnotationTable(
        image_ids=list(range(6)),
        paths=[""] * 6,
        sizes=np.ones((6, 2), np.int64),
        offsets=np.cumsum([0, *counts]),
        boxes=np.zeros((total, 4)),
        labels=np.array([label for one in labels for label in one]),
        difficult=np.zeros(total, bool),
        crowd=np.zeros(total, bool),
        areas=np.zeros(total),
    )
    order = sheet_order(table)
    assert set(order[:2]) == {2, 3} and sorted(order) == list(range(6))


def test_the_usual_folder_is_a_free_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/data", "runs/data-2"):
        assert main(["data", str(root), "--data.classes=[car, dog]", "--model=refinedet192_small"]) == 0
        assert f"written to {folder}/" in capsys.readouterr().out and (tmp_path / folder / "data.json").is_file()


def test_the_configuration_of_a_run_says_data_and_model(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"model: {{name: refinedet192_small, options: {{input_size: 256, nms: coco}}}}\n"
        f"data: {{root: {root}, classes: [car, dog]}}\ntrain: {{epochs: 3}}\noutput: runs/x\n"
    )
    start = ["data", f"--output={tmp_path / 'out'}"]
    assert main([*start, f"--config={config}"]) == 0
    assert "anchors of refinedet192_small at 256 px" in capsys.readouterr().out
    config.write_text("model: {name: refinedet192_small, options: {anchor_sizes: [8, 16, 32, 64]}}\n")
    assert main(["data", str(root), f"--config={config}"]) == 2
    assert "model.options.anchor_sizes: expected none" in capsys.readouterr().err


def test_without_a_model_it_is_that_of_the_recipe(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", str(root), "--data.classes=[car, dog]", f"--output={tmp_path / 'out'}"]) == 0
    assert "anchors of refinedetlite320_efficientnet_lite0 at 384 px" in capsys.readouterr().out
