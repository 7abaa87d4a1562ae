"""Pictures of every kind of data: they are there, and nothing in them warns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet.analysis import accuracy, coco_curves, confusion, error_costs, false_positives, scores, sensitivity
from refinedet.analysis.groups import find_groups
from refinedet.analysis.matching import Scene
from refinedet.data.coco_classes import COCO_CLASSES
from refinedet.data.voc import VOC_CLASSES
from refinedet.evaluation import GroundTruth, ImageDetections

from ..evaluation.scenes import make_truth


def random_scene(names, images, seed=0):
    """Objects of all classes, and detections of them: mostly right, some of other classes, elsewhere or missing."""
    rng = np.random.default_rng(seed)
    objects, records = [], []
    for image in range(images):
        count = 6
        corner = rng.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(15, 120, (count, 2))], 1)
        labels = rng.integers(1, len(names) + 1, count)
        objects += [(image, int(label), box.tolist()) for label, box in zip(labels, boxes, strict=True)]
        seen = np.repeat(np.arange(count), rng.integers(0, 4, count))
        noisy = boxes[seen] + rng.normal(0, 6, (len(seen), 4))
        noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2] + 1)
        wrong = rng.random(len(seen)) < 0.2
        given = np.where(wrong, rng.integers(1, len(names) + 1, len(seen)), labels[seen])
        corner = rng.uniform(0, 300, (2, 2))
        noisy = np.concatenate([noisy, np.concatenate([corner, corner + 50], 1)])
        given = np.concatenate([given, rng.integers(1, len(names) + 1, 2)])
        values = np.concatenate([rng.beta(5, 2, len(seen)), rng.beta(2, 5, 2)])
        records.append(ImageDetections(image, noisy, values, given))
    return GroundTruth.load(make_truth(objects, images=list(range(images)), names=names)), records


def draw(truth, records, groups, folder: Path) -> list[Path]:
    scene = Scene.of(truth, records)
    names = truth.class_names
    pooled = scores.pooled_curve(scene)
    threshold = 0.5 if pooled.best is None else pooled.best.threshold
    false_positives.plot_false_positives(
        false_positives.false_positive_trends(scene, groups), folder / "false_positives.png"
    )
    sensitivity.plot_sensitivity(sensitivity.sensitivity(scene), groups, names, folder / "sensitivity.png")
    error_costs.plot_error_costs(error_costs.error_costs(scene), folder / "error_costs.png")
    coco_curves.plot_coco_curves(coco_curves.coco_curves(truth, records, groups), groups, folder / "coco_curves.png")
    confusion.plot_confusion(confusion.confusion_matrix(scene, threshold), folder / "confusion.png")
    scores.plot_scores(scores.score_curves(scene), pooled, folder / "scores.png")
    accuracy.plot_accuracy(accuracy.accuracy(truth, records), folder / "accuracy.png")
    return sorted(folder.glob("*.png"))


SUPERS = {name: f"group {number // 8 + 1}" for number, name in enumerate(COCO_CLASSES)}


@pytest.mark.parametrize(
    ("names", "supers", "images"),
    [(("one $class$",), {}, 4), (VOC_CLASSES, {}, 12), (COCO_CLASSES, SUPERS, 20), (COCO_CLASSES, {}, 8)],
    ids=["one", "voc", "coco", "many without groups"],
)
def test_pictures(names, supers, images, tmp_path):
    truth, records = random_scene(names, images)
    files = draw(truth, records, find_groups(truth.class_names, supercategories=supers), tmp_path)
    assert len(files) == 7
    for file in files:
        image = cv2.imread(str(file))
        assert image.std() > 5 and max(image.shape) < 3000, file.name


@pytest.mark.parametrize("objects", [[], [(0, 1, [0, 0, 10, 10])]], ids=["no objects", "no detections"])
def test_pictures_of_nothing(objects, tmp_path):
    truth = GroundTruth.load(make_truth(objects, images=[0], names=("a", "b")))
    assert len(draw(truth, [], find_groups(["a", "b"]), tmp_path)) == 7
