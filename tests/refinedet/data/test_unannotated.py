"""Data sets to predict on: COCO files without annotations, lists of VOC's layout without XML files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from refinedet.data import COCODetection, VOCDetection
from refinedet.data.voc_files import listed_images

from .makers import noise, voc_object

XML = "<annotation><size><width>40</width><height>30</height></size>{}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Images a to d, of which c and d have XML files; a list of each kind."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate("abcd"):
        cv2.imwrite(str(tmp_path / f"JPEGImages/{name}.png"), noise(40, 30, number))
    for name in "cd":
        (tmp_path / f"Annotations/{name}.xml").write_text(XML.format(voc_object("cat", (1, 2, 30, 20))))
    for name, ids in {"test": "ab", "half": "abcd", "full": "cd", "gone": "abx"}.items():
        (tmp_path / f"ImageSets/Main/{name}.txt").write_text("\n".join(ids) + "\n")
    return tmp_path


def open_voc(root: Path, split: str, unannotated: Any) -> VOCDetection:
    return VOCDetection(root, split, classes=["cat"], unannotated=unannotated, quiet=True)


@pytest.mark.parametrize(
    ("split", "unannotated", "ids", "annotated"),
    [
        ("test", "auto", "ab", False),
        ("test", "keep", "ab", False),
        ("half", "skip", "cd", True),
        ("half", "auto", "cd", True),
        ("half", "keep", "abcd", False),
        ("full", "auto", "cd", True),
        ("full", "keep", "cd", True),
    ],
)
def test_images_without_xml(voc: Path, split: str, unannotated: str, ids: str, annotated: bool) -> None:
    dataset = open_voc(voc, split, unannotated)
    assert "".join(map(str, dataset.image_ids)) == ids and dataset.annotated is annotated
    assert len(dataset.table.labels) == (2 if annotated else 0)
    assert dataset.report.counts == ({"missing_annotation": 2} if len(ids) < 4 and split == "half" else {})
    assert dataset[0].image.shape == (30, 40, 3) and dataset.subset([0], "one").annotated is annotated


def test_a_list_without_annotations_needs_no_folder_of_them(voc: Path) -> None:
    with pytest.raises(ValueError, match="2 missing_annotation"):
        open_voc(voc, "test", "skip")
    for file in (voc / "Annotations").iterdir():
        file.unlink()
    (voc / "Annotations").rmdir()
    assert len(open_voc(voc, "test", "auto")) == 2
    with pytest.raises(FileNotFoundError, match="JPEGImages, Annotations and ImageSets/Main in .*, no Annotations"):
        open_voc(voc, "test", "skip")
    with pytest.raises(ValueError, match="unannotated: expected one of .*'auto', 'keep'.*, got 'some'"):
        open_voc(voc, "test", "some")


def test_missing_images_are_reported_there_too(voc: Path) -> None:
    dataset = open_voc(voc, "gone", "keep")
    assert dataset.image_ids == ["a", "b"] and dataset.report.counts == {"missing_image": 1}
    with pytest.raises(ValueError, match="x.jpg: no such image"):
        VOCDetection(voc, "gone", classes=["cat"], unannotated="auto", on_error="raise")


def test_listed_images(voc: Path) -> None:
    assert [path.name for path in listed_images(voc, "gone")] == ["a.png", "b.png"]
    assert listed_images(voc, "nothing") == [] and listed_images(voc / "nowhere", "test") == []


def test_coco_without_annotations(voc: Path) -> None:
    content: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 90, "name": "cat"}],
    }
    file = voc / "image_info_test-dev2017.json"
    file.write_text(json.dumps(content))
    dataset = COCODetection(voc / "JPEGImages", file, classes=["cat", "dog"], missing_classes="allow")
    assert not dataset.annotated and dataset.image_ids == [7] and dataset.category_ids == [90, 5]
    with pytest.raises(ValueError, match="classes: no category 'cow' in .*, it has"):  # whose id nobody knows
        COCODetection(voc / "JPEGImages", file, classes=["cat", "cow"], missing_classes="allow")
    file.write_text(json.dumps({**content, "annotations": []}))
    assert COCODetection(voc / "JPEGImages", file).annotated
    file.write_text(json.dumps({**content, "annotations": None}))
    with pytest.raises(ValueError, match="expected a list under 'annotations', got NoneType"):
        COCODetection(voc / "JPEGImages", file)
