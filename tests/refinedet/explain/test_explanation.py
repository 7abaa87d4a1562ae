"""Objects are traced to the anchors that they came from; maps and counts are those of the filter."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import refinedet_ext as rx
from refinedet.explain import explain, record
from refinedet.explain.explanation import _best_of_each_class
from refinedet.structures import to_tensor

from .models import NAMES, image, pixels, tiny

CLASSES = ["WBC", "RBC", "platelets"]
ALL = {"score_threshold": 0.0, "objects": 500}


def flat_scores(name, **options):
    """A model whose every anchor passes, with detections of all classes."""
    return tiny(name, theta=1.0, nms={"score_threshold": 0.0, "min_score": 0.0}, **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_detection_is_the_box_of_its_anchor(name):
    model = flat_scores(name)
    found = explain(model, image(60, 90), CLASSES, **ALL)
    assert found.objects and len(found.objects) == found.detections
    recording = record(model, to_tensor(_resized(model))[None])
    outputs = recording.outputs
    final = rx.decode_cascade(outputs.arm_deltas, outputs.odm_deltas, outputs.anchors)[0].numpy() * [90, 60, 90, 60]
    probabilities = outputs.odm_logits[0].softmax(-1).numpy()
    for one in found.objects:
        level = found.levels[one.level]
        anchors = [
            level.start + (one.row * level.columns + one.column) * level.per_cell + k for k in range(level.per_cell)
        ]
        assert min(np.abs(final[anchor] - one.box).max() for anchor in anchors) < 0.02
        anchor = min(anchors, key=lambda a: np.abs(final[a] - one.box).max())
        np.testing.assert_allclose(one.anchor, outputs.anchors[anchor].numpy() * [90, 60, 90, 60], atol=1e-3)
        if model.nms.method == "hard":
            assert one.score == pytest.approx(probabilities[anchor, one.label], abs=1e-5)
        assert one.name == CLASSES[one.label - 1]
        assert one.objectness == pytest.approx(float(outputs.arm_logits[0, anchor].softmax(-1)[1]), abs=1e-6)


def _resized(model):
    from refinedet.data.image_io import resize_image

    return resize_image(image(60, 90), (model.config.input_size,) * 2)


def test_refined_anchors_are_those_of_the_first_stage():
    moved = explain(flat_scores("refinedet192_small"), image(), **ALL).objects
    assert any(np.abs(one.refined - one.anchor).max() > 0.1 for one in moved)
    for one in explain(flat_scores("refinedet192_small", two_step=False), image(), **ALL).objects:
        np.testing.assert_allclose(one.refined, one.anchor, atol=1e-3)


def test_points_are_those_of_the_objects_cell():
    model = flat_scores("padet192_small")
    found = explain(model, image(60, 90), **ALL)
    recording = record(model, to_tensor(_resized(model))[None])
    assert found.aligned == [0, 1, 2]
    with_points = [one for one in found.objects if one.points is not None]
    assert with_points and {one.level for one in with_points} <= {0, 1, 2}
    assert all(one.points is None for one in found.objects if one.level > 2)
    for one in with_points:
        level = found.levels[one.level]
        expected = (recording.points[one.level][one.row, one.column] + 0.5) / (level.columns, level.rows) * (90, 60)
        np.testing.assert_allclose(one.points, expected, atol=1e-6)
        middle = (np.array([one.column, one.row]) + 0.5) / (level.columns, level.rows) * (90, 60)
        np.testing.assert_allclose(one.regular[4], middle, atol=1e-6)


def test_maps_are_the_filters():
    model = tiny("refinedet192_small")
    with torch.no_grad():
        for conv in model.arm.cls:
            conv.weight.mul_(100)  # scores on both sides of the threshold
    found = explain(model, image(64, 64))
    outputs = record(model, pixels(model)).outputs
    mask = rx.filter_anchors_mask(outputs.arm_logits, 0.99)[0].numpy()
    assert 0 < mask.sum() < len(mask)
    assert [int(kept.sum()) for kept in found.kept] == [int(mask[level.slice].sum()) for level in found.levels]
    scores = outputs.arm_logits[0].softmax(-1)[:, 1].numpy()
    assert found.objectness is not None
    for level, values, kept in zip(found.levels, found.objectness, found.kept, strict=True):
        assert values.shape == kept.shape == (level.rows, level.columns)
        np.testing.assert_allclose(values.max(), scores[level.slice].max())
        assert ((values >= 0.01) == (kept > 0))[np.abs(values - 0.01) > 1e-6].all()


def test_without_a_first_stage_there_are_no_scores():
    found = explain(flat_scores("efgrnet192_small", cascade=False), image(), **ALL)
    assert found.objectness is None and found.objects and found.aligned == []
    for one in found.objects:
        np.testing.assert_allclose(one.refined, one.anchor, atol=1e-3)


def test_the_best_of_each_class_in_turn():
    labels = np.array([2, 2, 2, 1, 2, 3, 1])
    assert _best_of_each_class(labels, np.arange(7), 4) == [0, 1, 3, 5]  # of 2, 1, 3, then the second of 2
    assert _best_of_each_class(labels, np.arange(2), 4) == [0, 1]
    assert _best_of_each_class(labels, np.arange(0), 4) == []


def test_only_detections_with_the_score_count():
    found = explain(tiny("refinedet192_small"), image(), score_threshold=1.0)
    assert found.objects == [] and found.detections == 0


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_plain_json(name):
    found = explain(flat_scores(name), image(60, 90), CLASSES, score_threshold=0.0, objects=4)
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (content["width"], content["height"], len(content["objects"])) == (90, 60, 4)
    assert sum(level["kept"] for level in content["levels"]) == sum(level["anchors"] for level in content["levels"])
    level = content["levels"][0]
    assert (len(level["objectness"]), len(level["objectness"][0])) == (level["rows"], level["columns"])
    assert [[len(rows) for rows in content["levels"][0]["features"].values()]] == [[level["rows"]] * 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold: expected a number from 0 to 1, got 1.5"),
        ({"objects": 0}, "objects: expected an integer of at least 1, got 0"),
        ({"input_size": 65}, "input_size: expected a multiple of"),
        ({"class_names": ["a"]}, "class_names: expected 3 names"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        explain(tiny("refinedet192_small"), image(), **options)
