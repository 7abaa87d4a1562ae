"""Mutated files of detections and of ground truth end in a named error, or in what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from refinedet.evaluation import Evaluator, ImageDetections, ResultsError, from_coco_results, read_results

from ..mutations import EDITS, Edits, edited

RESULTS = [
    {"image_id": 1, "category_id": 2, "bbox": [1.5, 2, 3, 4], "score": 0.5},
    {"image_id": "b", "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1, "extra": None},
]
TRUTH = {
    "images": [{"id": 1}, {"id": "b", "width": 9}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12.5, "iscrowd": 0},
        {"id": 2, "image_id": "b", "category_id": 1, "bbox": [0, 0, 9, 9], "difficult": 1},
    ],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "ring"}],
}


def test_mutated_results(tmp_path: Path) -> None:
    path, good = tmp_path / "results.json", json.dumps(RESULTS).encode()
    truth = Evaluator(TRUTH).ground_truth

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(EDITS)
    def check(edits: Edits) -> None:
        path.write_bytes(edited(good, edits))
        try:
            results = read_results(path)
        except ResultsError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error)) < 1000
            return
        records = [(record, len(record)) for record in from_coco_results(results)]
        assert sum(count for _, count in records) == len(results)
        try:
            Evaluator(truth).load_results(path)
        except ResultsError as error:
            assert str(error).startswith(f"{path}: ")

    check()


def test_mutated_ground_truth(tmp_path: Path) -> None:
    path, good = tmp_path / "truth.json", json.dumps(TRUTH).encode()

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(EDITS)
    def check(edits: Edits) -> None:
        path.write_bytes(edited(good, edits))
        try:
            evaluator = Evaluator(path)
        except ResultsError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error)) < 1000
            return
        truth = evaluator.ground_truth
        assert np.isfinite(truth.boxes).all() and np.isfinite(truth.area).all()
        assert len(truth) == len(json.loads(path.read_bytes())["annotations"])
        evaluator.load_results([])
        json.dumps(evaluator.compute("coco"), ensure_ascii=False).encode()

    check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 10**400}, "score: expected a finite number, got 1000"),
        ({"bbox": [10**400, 1, 2, 3]}, "bbox: expected .*finite"),
        ({"bbox": [1e308, 1, 1e308, 3]}, "bbox: expected .*finite"),
        ({"bbox": [1] * 100_000}, r"bbox: expected .* got \[1, 1, 1, 1, 1, 1, \.\.\.\]$"),
    ],
)
def test_numbers_beyond_floats_and_endless_lists(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps([{**RESULTS[0], **change}]))
    with pytest.raises(ResultsError, match=f"r.json: entry 0: {message}"):
        read_results(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "1" * 5000 + "]", "\ud800", "[1"])
def test_what_is_no_json_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for read in (read_results, Evaluator):
        with pytest.raises(ResultsError, match="r.json: not a JSON file: "):
            read(path)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("annotations", {"image_id": []}, r"annotations\[0\]: image_id: no such image \[\]"),
        ("annotations", {"category_id": {}}, r"annotations\[0\]: category_id: no such class {}"),
        ("categories", {"name": None}, r"categories\[0\]: name: expected text, got None"),
        ("categories", {"name": "\ud800"}, r"categories\[0\]: name: expected text, got '.ud800'"),
    ],
)
def test_values_of_other_kinds_in_ground_truth(section: str, change: dict[str, object], message: str) -> None:
    truth = json.loads(json.dumps(TRUTH))
    truth[section][0].update(change)
    with pytest.raises(ResultsError, match=f"ground truth: {message}"):
        Evaluator(truth)


def test_text_is_no_list_of_annotations() -> None:
    with pytest.raises(ResultsError, match="expected a list under 'annotations'"):
        Evaluator({**TRUTH, "annotations": ""})


@pytest.mark.parametrize("label", [1e30, float("inf"), float("nan")])
def test_labels_beyond_integers(label: float) -> None:
    with pytest.raises(ResultsError, match="labels: expected integers, got"):
        ImageDetections(1, [[0, 0, 1, 1]], [0.5], [label])
