"""Files for VOC's evaluation server: names, lines, and that they say what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refinedet.evaluation import ImageDetections, ResultsError, voc_evaluate, voc_result_files, write_voc_results
from refinedet.evaluation.voc_results import check_voc_ids

NAMES = ["cat", "traffic light"]


def record(image_id: str, *rows: tuple[float, ...]) -> ImageDetections:
    """rows: label, score, x1, y1, x2, y2."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return ImageDetections(image_id, table[:, 2:], table[:, 1], table[:, 0])


def test_files_lie_and_read_as_the_kit_has_them(tmp_path: Path) -> None:
    files = voc_result_files(tmp_path, NAMES, competition="comp4", kind="voc12", split="test")
    main = tmp_path / "results/VOC2012/Main"
    assert list(files.values()) == [main / "comp4_det_test_cat.txt", main / "comp4_det_test_traffic light.txt"]
    records = [record("2008_1", (1, 0.5, 10, 20, 30, 40), (1, 0.25, 0, 0, 90, 70)), record("2008_2")]
    write_voc_results(files, records, {"2008_1": (80, 60), "2008_2": (5, 5)})
    assert files["cat"].read_text() == (
        "2008_1 0.500000000 10.000 20.000 30.000 40.000\n2008_1 0.250000000 1.000 1.000 80.000 60.000\n"
    )
    assert files["traffic light"].read_text() == ""
    seven = voc_result_files(tmp_path, NAMES, competition="comp3", kind="voc07", split="val")
    assert seven["cat"] == tmp_path / "results/VOC2007/Main/comp3_det_val_cat.txt"


def test_the_files_measure_as_the_detections_do(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [f"{number:06d}" for number in range(12)]
    truth = {
        "images": [{"id": image_id, "width": 100, "height": 100} for image_id in ids],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "traffic light"}],
        "annotations": [],
    }
    records = []
    for image_id in ids:
        corners = rng.uniform(1, 60, (4, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(10, 30, (4, 2))], 1)
        labels = rng.integers(1, 3, 4)
        for label, (x1, y1, x2, y2) in zip(labels.tolist(), boxes.tolist(), strict=True):
            entry = {"image_id": image_id, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            truth["annotations"].append({"id": len(truth["annotations"]) + 1, **entry})
        moved = boxes + rng.uniform(-5, 5, boxes.shape)
        records.append(ImageDetections(image_id, moved, rng.uniform(0.01, 1, 4).astype(np.float32), labels))
    files = voc_result_files(tmp_path, NAMES, competition="comp4", kind="voc12", split="test")
    write_voc_results(files, records, dict.fromkeys(ids, (100, 100)))
    rows: dict[str, list[tuple[float, ...]]] = {image_id: [] for image_id in ids}
    for label, path in enumerate(files.values(), 1):
        for line in path.read_text().splitlines():
            image_id, *numbers = line.split(" ")
            rows[image_id].append((label, *map(float, numbers)))
    again = [record(image_id, *found) for image_id, found in rows.items()]
    before, after = voc_evaluate(truth, records), voc_evaluate(truth, again)
    assert 0.2 < before["mAP"] < 1 and after["mAP"] == before["mAP"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="competition: expected one of comp3, comp4, got 'comp5'"):
        voc_result_files(tmp_path, NAMES, competition="comp5", kind="voc12", split="test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind: expected voc07 or voc12 beside competition, .* got 'coco'"):
        voc_result_files(tmp_path, NAMES, competition="comp3", kind="coco", split="test")
    for names, split in ((["a/b"], "test"), (["a"], "../test"), ([""], "test"), (["a\nb"], "test")):
        with pytest.raises(ValueError, match="competition: expected names that a file can have, got"):
            voc_result_files(tmp_path, names, competition="comp3", kind="voc12", split=split)
    for bad in ("an image", "a\tb", ""):
        with pytest.raises(ValueError, match="competition: expected image ids without white space"):
            check_voc_ids(["fine", bad])
    files = voc_result_files(tmp_path, NAMES, competition="comp3", kind="voc12", split="test")
    with pytest.raises(ResultsError, match=r"labels: expected 1\.\.2, got 3"):
        write_voc_results(files, [record("a", (3, 0.5, 1, 1, 2, 2))], {"a": (9, 9)})
    assert not any(tmp_path.iterdir())
