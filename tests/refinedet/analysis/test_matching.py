from __future__ import annotations

import numpy as np
import pytest

from refinedet.analysis.matching import Scene, coco_average_precision, match
from refinedet.evaluation import GroundTruth, coco_evaluate

from ..evaluation.scenes import make_record, make_scene, make_truth


def scene_of(objects, *records, names=("a", "b"), images=None):
    return Scene.of(GroundTruth.load(make_truth(objects, names=names, images=images)), list(records))


def test_who_finds_whom():
    scene = scene_of(
        [
            (1, 1, [0, 0, 10, 10]),
            (1, 1, [50, 0, 60, 10], {"difficult": 1}),
            (1, 1, [100, 0, 200, 100], {"iscrowd": 1}),
            (1, 2, [0, 20, 10, 30]),
        ],
        make_record(
            1,
            (1, 0.5, [0, 0, 10, 10]),  # comes after the next one, which takes the object
            (1, 0.9, [0, 0, 10, 8]),
            (1, 0.8, [50, 0, 60, 10]),
            (1, 0.7, [110, 10, 120, 20]),  # wholly in the crowd, though its IoU is 0.01
            (1, 0.6, [0, 20, 10, 30]),  # on an object of the other class
        ),
    )
    found = match(scene)
    assert scene.scores.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert found.object_of.tolist() == [0, -1, -1, -1, -1] and found.found_by.tolist() == [0, -1, -1, -1]
    assert found.neutral.tolist() == [False, True, True, False, False]
    assert found.wrong.tolist() == [False, False, False, True, True]
    assert scene.objects_per_class.tolist() == [0, 1, 1]


def test_the_second_best_object_is_taken_where_the_best_is_gone():
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (1, 1, [0, 2, 10, 12])],
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (1, 0.8, [0, 0, 10, 11])),
    )
    assert match(scene).object_of.tolist() == [0, 1]
    assert match(scene, 0.95).object_of.tolist() == [0, -1]


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed):
    content, records = make_scene(seed, images=12)
    truth = GroundTruth.load(content)
    scene = Scene.of(truth, records)
    found = match(scene)
    expected = coco_evaluate(truth, records)["per_class"]
    for label, name in enumerate(truth.class_names, start=1):
        objects = int(scene.objects_per_class[label])
        if objects:
            chosen = (scene.labels == label) & ~found.neutral
            ours = coco_average_precision(found.correct[chosen], objects)
            assert ours == pytest.approx(expected[name]["AP50"], abs=1e-12)


def test_nothing_at_all():
    scene = scene_of([], images=[1, 2])
    assert len(scene) == 0 and len(match(scene).object_of) == 0 and len(scene.pair_iou) == 0
    assert coco_average_precision(np.zeros(0, bool), 3) == 0.0


def test_records_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="not in the ground truth"):
        scene_of([], make_record(7, (1, 0.5, [0, 0, 1, 1])), images=[1])
