from __future__ import annotations

from pathlib import Path

import pytest

from refinedet.data.build import build_dataset
from refinedet.data.coco import COCODetection
from refinedet.data.report import AnnotationError
from refinedet.data.voc import VOCDetection

from .makers import coco_content, coco_object, make_coco, make_voc, voc_object, voc_xml


def test_voc(tmp_path: Path) -> None:
    xml = voc_xml([voc_object("car", (5, 5, 20, 30)), voc_object("cow", (5, 5, 20, 30), difficult=1)])
    make_voc(tmp_path / "one", {"a": xml})
    make_voc(tmp_path / "two", {"b": xml}, split="val")
    dataset = build_dataset(
        "voc",
        root=tmp_path / "one",
        split="train",
        extra_parts=[(tmp_path / "two", "val")],
        classes="auto",
        use_difficult=False,
        coordinates="zero_based",
        cache_images=True,
    )
    assert isinstance(dataset, VOCDetection) and dataset.caches_images
    assert dataset.image_ids == ["a", "b"]
    assert dataset[1].boxes.tolist() == [[4, 4, 19, 29]]
    dataset = build_dataset("voc", root=tmp_path / "one", split="train", classes=["cow"], ignore_classes=["car"])
    assert dataset[0].difficult.tolist() == [True] and not dataset.report.problems


def test_coco(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"] = [coco_object(10, 3, [1, 1, 9, 9], iscrowd=1), coco_object(10, 3, [1, 1, 0, 9])]
    make_coco(tmp_path, content)
    dataset = build_dataset("coco", root=tmp_path, image_dir=".", annotation_file="instances.json", classes="auto")
    assert isinstance(dataset, COCODetection) and dataset.class_names == ["car", "bus", "zebra"]
    files = {"image_dir": str(tmp_path), "annotation_file": str(tmp_path / "instances.json")}
    assert build_dataset("coco", **files, drop_crowd=False, drop_empty=True)[0].crowd.tolist() == [True]
    with pytest.raises(AnnotationError):
        build_dataset("coco", **files, on_error="raise")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "yolo"}, "format: expected 'voc' or 'coco', got 'yolo'"),
        ({"format": "voc", "root": "x"}, "format 'voc': expected root and split"),
        ({"format": "coco", "image_dir": "x"}, "format 'coco': expected image_dir and annotation_file"),
        ({"format": "voc", "drop_crowd": True}, "drop_crowd: format 'voc' has no such argument, got True"),
        ({"format": "voc", "image_dir": "x"}, "image_dir: format 'voc' has no such argument"),
        ({"format": "coco", "split": "train"}, "split: format 'coco' has no such argument, got 'train'"),
        ({"format": "coco", "use_difficult": False}, "use_difficult: format 'coco' has no such"),
        ({"format": "coco", "coordinates": "as_given"}, "coordinates: format 'coco' has no such"),
    ],
)
def test_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_dataset(**arguments)
