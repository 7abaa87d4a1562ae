from __future__ import annotations

import pytest

from refinedet.analysis.scores import as_json, pooled_curve, score_curves

from ..evaluation.scenes import make_record
from .test_matching import scene_of

OBJECTS = [(1, 1, [0, 0, 10, 10]), (2, 1, [0, 0, 10, 10]), (3, 1, [0, 0, 10, 10])]


def test_a_threshold_takes_all_of_one_score():
    """Three objects; correct at 0.9, a wrong and a correct one at 0.8, wrong at 0.3."""
    scene = scene_of(
        OBJECTS,
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (1, 0.8, [50, 0, 60, 10]), (1, 0.3, [50, 50, 60, 60])),
        make_record(2, (1, 0.8, [0, 0, 10, 10])),
    )
    curve = score_curves(scene)["a"]
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.3]
    assert curve.precision.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert curve.recall.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert curve.f1.tolist() == pytest.approx([2 / 4, 4 / 6, 4 / 7])
    assert curve.best.threshold == 0.8 and curve.best.f1 == pytest.approx(2 / 3)
    assert [curve.at(t) for t in (0.95, 0.9, 0.85, 0.8, 0.0)] == [(0, 0), (1, 1), (1, 1), (2, 3), (2, 4)]


def test_all_classes_together_and_what_does_not_count():
    scene = scene_of(
        [*OBJECTS, (1, 2, [50, 0, 60, 10]), (1, 2, [80, 0, 90, 10], {"difficult": 1})],
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (2, 0.7, [50, 0, 60, 10]), (2, 0.95, [80, 0, 90, 10])),
    )
    pooled = pooled_curve(scene)
    assert pooled.objects == 4 and pooled.thresholds.tolist() == [0.9, 0.7] and pooled.best.threshold == 0.7
    content = as_json(score_curves(scene), pooled)
    assert content["all"]["best"]["precision"] == 1.0 and content["all"]["best"]["recall"] == 0.5
    place = content["thresholds"].index(0.8)
    assert content["all"]["detections"][place] == 1 and content["all"]["correct"][place] == 1


def test_without_anything_correct_there_is_no_best():
    scene = scene_of(OBJECTS, make_record(1, (2, 0.9, [0, 0, 10, 10])))
    curves = score_curves(scene)
    assert curves["a"].best is None and curves["b"].best is None and pooled_curve(scene).best is None
    assert as_json(curves, pooled_curve(scene))["all"]["best"] is None
