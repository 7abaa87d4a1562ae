"""What pycocotools computes: AP by overlap and size, and the curves of COCO's analysis."""

from __future__ import annotations

import numpy as np
import pytest

from refinedet.analysis.accuracy import SIZES, accuracy
from refinedet.analysis.accuracy import as_json as accuracy_json
from refinedet.analysis.coco_curves import STEPS, as_json, coco_curves
from refinedet.analysis.groups import find_groups
from refinedet.evaluation import GroundTruth, coco_evaluate

from ..evaluation.scenes import make_record, make_scene, make_truth


def areas(objects, *records, names=("a", "b", "c")):
    truth = GroundTruth.load(make_truth(objects, names=names, images=[1]))
    groups = find_groups(truth.class_names, {"alike": ["a", "b"]})
    return as_json(coco_curves(truth, list(records), groups), groups)


def test_every_step_by_hand():
    """One object of a, found at IoU 0.6. Better than that detection are one on b, one on c and one on nothing."""
    found = areas(
        [(1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 60, 10]), (1, 3, [100, 0, 110, 10])],
        make_record(
            1,
            (1, 0.9, [50, 0, 60, 10]),
            (1, 0.8, [100, 0, 110, 10]),
            (1, 0.7, [0, 50, 10, 60]),
            (1, 0.6, [0, 0, 10, 6]),
        ),
    )["classes"]
    assert found["a"] == pytest.approx(
        {"C75": 0, "C50": 1 / 4, "Loc": 1 / 4, "Sim": 1 / 3, "Oth": 1 / 2, "BG": 1, "FN": 1}
    )
    assert found["b"] == {**dict.fromkeys(STEPS, 0.0), "FN": 1.0}


def test_localisation_and_what_is_missed():
    """Two objects of a: one is hit at IoU 0.3 alone, the other not at all."""
    found = areas([(1, 1, [0, 0, 10, 10]), (1, 1, [50, 0, 60, 10])], make_record(1, (1, 0.9, [0, 0, 10, 3])))
    half = 51 / 101  # of COCO's recalls, 0 to 0.5
    expected = {"C75": 0, "C50": 0, "Loc": half, "Sim": half, "Oth": half, "BG": half, "FN": 1}
    assert found["classes"]["a"] == pytest.approx(expected) and found["all"]["areas"] == pytest.approx(expected)
    assert set(found["classes"]["b"].values()) == {None} and found["groups"]["others"]["precision"] is None


def test_c50_and_c75_are_coco_s():
    content, records = make_scene(3, images=15)
    truth = GroundTruth.load(content)
    metrics = coco_evaluate(truth, records)
    groups = find_groups(truth.class_names)
    found = as_json(coco_curves(truth, records, groups), groups)["all"]["areas"]
    assert found["C50"] == pytest.approx(metrics["AP50"]) and found["C75"] == pytest.approx(metrics["AP75"])
    values = [found[step] for step in STEPS]
    assert values == sorted(values) and found["FN"] == 1.0


def test_accuracy_is_coco_s():
    content, records = make_scene(5, images=15)
    truth = GroundTruth.load(content)
    metrics = coco_evaluate(truth, records)
    found = accuracy_json(accuracy(truth, records))
    expected = [metrics[name] for name in ("AP", "APs", "APm", "APl")]
    assert [found[size]["AP"] for size in SIZES] == pytest.approx(expected)
    assert found["all"]["0.50"] == pytest.approx(metrics["AP50"])
    assert found["all"]["0.75"] == pytest.approx(metrics["AP75"])
    assert found["all"]["objects"] == metrics["objects"]
    assert sum(found[size]["objects"] for size in SIZES[1:]) == metrics["objects"]


def test_nothing_to_measure():
    truth = GroundTruth.load(make_truth([], images=[1]))
    found = accuracy(truth, [])
    assert np.isnan(found.ap).all() and accuracy_json(found)["all"]["AP"] is None
    groups = find_groups(["a"])
    assert as_json(coco_curves(truth, [], groups), groups)["all"]["precision"] is None
