from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from refinedet.data.coco import COCODetection
from refinedet.data.coco_format import coco_dict, to_coco_dict, write_coco_annotations
from refinedet.data.voc import VOCDetection

from .makers import coco_content, coco_object, make_coco, make_sample, make_voc, voc_object, voc_xml


@pytest.fixture
def voc(tmp_path: Path) -> VOCDetection:
    objects = [voc_object("cat", (2, 3, 12, 33)), voc_object("dog", (5, 5, 25, 15), difficult=1)]
    root = make_voc(tmp_path / "voc", {"a": voc_xml(objects), "b": voc_xml()})
    return VOCDetection(root, "train", classes=["dog", "cat"])


def test_voc_to_coco(voc: VOCDetection) -> None:
    content = to_coco_dict(voc)
    assert content["images"] == [
        {"id": "a", "file_name": "a.jpg", "width": 64, "height": 48},
        {"id": "b", "file_name": "b.jpg", "width": 64, "height": 48},
    ]
    assert content["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    cat, dog = content["annotations"]
    assert cat == {
        "id": 1,
        "image_id": "a",
        "category_id": 2,
        "bbox": [2.0, 3.0, 10.0, 30.0],
        "area": 300.0,
        "iscrowd": 0,
        "difficult": 0,
    }
    assert (dog["id"], dog["category_id"], dog["iscrowd"], dog["difficult"]) == (2, 1, 0, 1)
    json.dumps(content)  # plain numbers only


def test_difficult_as_crowd_or_dropped(voc: VOCDetection) -> None:
    crowd = to_coco_dict(voc, difficult="crowd")["annotations"]
    assert [(a["iscrowd"], a["difficult"]) for a in crowd] == [(0, 0), (1, 1)]
    dropped = to_coco_dict(voc, difficult="drop")["annotations"]
    assert [(a["id"], a["category_id"]) for a in dropped] == [(1, 2)]
    with pytest.raises(ValueError, match="difficult: expected 'flag', 'crowd' or 'drop', got 'x'"):
        to_coco_dict(voc, difficult="x")  # type: ignore[arg-type]


def test_there_and_back(voc: VOCDetection, tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    records = [voc.record(i) for i in range(len(voc))]
    write_coco_annotations(path, records, voc.class_names, image_dir=tmp_path)
    assert json.loads(path.read_text())["images"][0]["file_name"] == "voc/JPEGImages/a.jpg"
    back = COCODetection(tmp_path, path, on_error="raise")
    assert back.class_names == voc.class_names
    for i in range(len(voc)):
        old, new = voc[i], back[i]
        np.testing.assert_array_equal(new.boxes, old.boxes)
        np.testing.assert_array_equal(new.labels, old.labels)
        np.testing.assert_array_equal(new.image, old.image)
        assert new.image_id == old.image_id


def test_coco_keeps_category_ids_crowd_and_mask_areas(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"] = [
        coco_object(20, 90, [1.25, 2, 10, 20.1], area=77.5, iscrowd=0),
        coco_object(10, 3, [0, 0, 64, 48], iscrowd=1, area=5),
    ]
    content["categories"].sort(key=lambda c: c["id"])
    dataset = COCODetection(*make_coco(tmp_path, content), drop_crowd=False)
    got = to_coco_dict(dataset, image_dir=tmp_path)
    assert got["images"] == content["images"] and got["categories"] == content["categories"]
    by_image = {a["image_id"]: a for a in got["annotations"]}
    assert by_image[20]["bbox"] == pytest.approx([1.25, 2, 10, 20.1], abs=1e-9)
    assert by_image[20]["area"] == 77.5 and by_image[20]["category_id"] == 90
    assert by_image[10]["iscrowd"] == 1


def test_samples_and_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [make_sample([(1, 2, 11, 22), (3, 3, 9, 9)], image_id=7), make_sample(image_id=8)]
    path = tmp_path / "gt.json"
    write_coco_annotations(path, samples, ["cat", "dog"], category_ids=[5, 9])
    coco = COCO(str(path))
    assert coco.getImgIds() == [7, 8] and coco.getCatIds() == [5, 9]
    assert [a["bbox"] for a in coco.loadAnns(coco.getAnnIds([7]))] == [[1, 2, 10, 20], [3, 3, 6, 6]]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="image 'a': expected labels 1 to 1, got 2"):
        coco_dict([make_sample([(0, 0, 9, 9), (0, 0, 8, 8)])], ["cat"])
    with pytest.raises(ValueError, match="image_id 'a' comes twice"):
        coco_dict([make_sample(), make_sample()], ["cat"])
    with pytest.raises(ValueError, match=r"category_ids: expected 2 different ids, got \[3, 3\]"):
        coco_dict([], ["cat", "dog"], category_ids=[3, 3])
    assert coco_dict([], ["cat"]) == {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
