"""The data pipeline on real photographs: blood cells, in the layout of VOC."""

from __future__ import annotations

from pathlib import Path

import pytest

from refinedet.data import (
    AnnotationError,
    TrainPipeline,
    VOCDetection,
    build_loader,
    discover_voc_classes,
    to_coco_dict,
)

from .makers import BCCD, needs_bccd

pytestmark = needs_bccd


def test_the_two_boxes_without_area_are_found_and_named() -> None:
    dataset = VOCDetection(BCCD, "trainval", classes="auto")
    assert dataset.class_names == ["Platelets", "RBC", "WBC"]
    assert len(dataset) == 292
    assert dataset.report.counts == {"no_area": 2}
    found = [(Path(p.file).name, p.object_index, p.detail) for p in dataset.report]
    assert found == [
        ("BloodImage_00338.xml", 12, "box (504, 337, 504, 337) has no area"),
        ("BloodImage_00343.xml", 3, "box (181, 329, 181, 329) has no area"),
    ]
    classes = discover_voc_classes(BCCD, "trainval")
    assert dataset.report.objects == sum(classes.values()) - 2
    with pytest.raises(AnnotationError, match="BloodImage_00338.xml, object 12"):
        VOCDetection(BCCD, "trainval", classes="auto", on_error="raise")


def test_the_test_split_is_clean() -> None:
    dataset = VOCDetection(BCCD, "test", classes=["RBC", "WBC", "Platelets"], on_error="raise")
    assert len(dataset) == 72 and not dataset.report.problems
    content = to_coco_dict(dataset)
    assert len(content["images"]) == 72 and len(content["annotations"]) == dataset.report.objects


def test_training_batches() -> None:
    dataset = VOCDetection(BCCD, "train", classes="auto")
    batch = next(iter(build_loader(dataset, TrainPipeline(320), batch_size=16, shuffle=True)))
    assert batch.images.shape == (16, 3, 320, 320)
    assert batch.gt_offsets[-1] == len(batch.gt_boxes) > 16
    assert batch.gt_boxes.min() >= 0 and batch.gt_boxes.max() <= 1
    assert (batch.gt_boxes[:, :2] < batch.gt_boxes[:, 2:]).all()
    assert set(batch.gt_labels.tolist()) <= {1, 2, 3}
    assert batch.original_sizes == [(640, 480)] * 16
