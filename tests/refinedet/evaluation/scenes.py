"""Small scenes, by hand and at random, for the tests of the metrics."""

from __future__ import annotations

import numpy as np

from refinedet.evaluation import ImageDetections


def make_truth(objects, *, images=None, names=("a",)):
    """A COCO dictionary; objects: (image_id, label, [x1, y1, x2, y2], further keys...) each."""
    image_ids = sorted({o[0] for o in objects}) if images is None else images
    annotations = []
    for i, (image_id, label, (x1, y1, x2, y2), *extra) in enumerate(objects):
        entry = {"id": i, "image_id": image_id, "category_id": label}
        entry["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        for more in extra:
            entry.update(more)
        annotations.append(entry)
    return {
        "images": [{"id": image_id, "width": 400, "height": 300} for image_id in image_ids],
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }


def make_record(image_id, *rows):
    """An ImageDetections; rows: (label, score, [x1, y1, x2, y2]) each."""
    return ImageDetections(
        image_id,
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float64),
        np.array([row[0] for row in rows], np.int64),
    )


def make_scene(seed, *, images=6, classes=3, jitter=4.0, apart=False, difficult=0.0, false=3):
    """A random COCO dictionary, and records that find most of its objects and some others.

    apart: objects stand in cells of a grid, far enough from each other that each detection overlaps
    one object at most.
    """
    rng = np.random.default_rng(seed)
    objects, records = [], []
    for image in range(images):
        count = int(rng.integers(0, 6))
        if apart:
            cells = rng.permutation(12)[:count]
            corner = np.stack([cells % 4, cells // 4], 1) * 100.0 + rng.uniform(0, 20, (count, 2))
            size = rng.uniform(30, 70, (count, 2))
        else:
            corner = rng.uniform(0, 200, (count, 2))
            size = rng.uniform(10, 120, (count, 2))
        boxes = np.concatenate([corner, corner + size], 1)
        labels = rng.integers(1, classes + 1, count)
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            extra = {"difficult": int(rng.random() < difficult)}
            objects.append((image, label, box, extra))
        noisy = boxes + rng.normal(0, jitter, boxes.shape) if jitter else boxes
        repeats = rng.integers(0, 3, count)
        noisy, found = np.repeat(noisy, repeats, 0), np.repeat(labels, repeats)
        far = rng.uniform(500, 600, (false, 2))
        wrong = np.concatenate([far, far + 40], 1)
        boxes = np.concatenate([noisy, wrong])
        labels = np.concatenate([found, rng.integers(1, classes + 1, false)])
        scores = rng.uniform(0, 1, len(boxes)).round(2)  # rounded: ties occur
        boxes = np.concatenate([boxes[:, :2], np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
        records.append(ImageDetections(image, boxes, scores, labels))
    names = [f"class{i}" for i in range(1, classes + 1)]
    return make_truth(objects, images=list(range(images)), names=names), records
