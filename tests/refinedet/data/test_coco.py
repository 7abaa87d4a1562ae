from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refinedet.data.coco import COCODetection
from refinedet.data.image_io import read_image
from refinedet.data.report import AnnotationError

from .makers import coco_content, coco_object, make_coco


def problems(dataset: COCODetection) -> list[tuple[str, str, int | None]]:
    return [(p.kind.value, Path(p.file).name, p.object_index) for p in dataset.report]


def test_reads_samples_and_maps_categories(tmp_path: Path) -> None:
    content = coco_content(3)
    content["annotations"] = [
        coco_object(30, 90, [1.5, 2.25, 10, 20.5], area=77.5),
        coco_object(10, 7, [0, 0, 64, 48]),
        coco_object(30, 3, [4, 5, 6, 7]),
    ]
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    # Labels follow ascending category ids, whatever the order in the file.
    assert dataset.class_names == ["car", "bus", "zebra"] and dataset.category_ids == [3, 7, 90]
    assert dataset.image_ids == [10, 20, 30]
    assert dataset.annotation_file == tmp_path / "instances.json"
    samples = [dataset[i] for i in range(3)]
    for sample in samples:
        sample.check()
    assert [s.labels.tolist() for s in samples] == [[2], [], [3, 1]]
    assert samples[2].boxes.tolist() == [[1.5, 2.25, 11.5, 22.75], [4, 5, 10, 12]]
    assert samples[0].image_id == 10 and samples[0].original_size == (64, 48)
    np.testing.assert_array_equal(samples[1].image, read_image(tmp_path / "1.png"))
    assert dataset.record(2).areas.tolist() == [77.5, 42.0]


def test_all_80_labels_of_coco_style_ids(tmp_path: Path) -> None:
    content = coco_content(1)
    ids = [i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]
    content["categories"] = [{"id": i, "name": f"c{i}"} for i in ids]
    content["annotations"] = [coco_object(10, i, [0, 0, 9, 9]) for i in ids]
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert dataset[0].labels.tolist() == list(range(1, 81))
    assert [dataset.category_ids[label - 1] for label in dataset[0].labels] == ids


def test_crowd(tmp_path: Path) -> None:
    content = coco_content(1)
    content["annotations"] = [
        coco_object(10, 3, [0, 0, 9, 9], iscrowd=1),
        coco_object(10, 3, [5, 5, 9, 9], iscrowd=0),
    ]
    files = make_coco(tmp_path, content)
    dropped = COCODetection(*files)
    assert dropped[0].boxes.tolist() == [[5, 5, 14, 14]] and dropped.report.excluded == {"crowd": 1}
    kept = COCODetection(*files, drop_crowd=False)
    assert kept[0].crowd.tolist() == [True, False] and not kept.report.excluded


def test_classes_and_empty_pictures(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"] = [
        coco_object(10, 3, [0, 0, 9, 9]),
        coco_object(20, 90, [5, 5, 9, 9]),
    ]
    files = make_coco(tmp_path, content)
    dataset = COCODetection(*files, classes=["zebra", "bus"], on_error="raise")
    assert dataset.class_names == ["zebra", "bus"] and dataset.category_ids == [90, 7]
    assert [dataset[i].labels.tolist() for i in range(2)] == [[], [1]]
    assert dataset.report.excluded == {"class": 1}
    dataset = COCODetection(*files, classes=["zebra", "bus"], drop_empty=True)
    assert dataset.image_ids == [20] and dataset.report.excluded["empty image"] == 1
    assert dataset[0].boxes.tolist() == [[5, 5, 14, 14]]
    with pytest.raises(ValueError, match=r"classes: no category 'cat' in .*\['zebra', 'car', 'bus'\]"):
        COCODetection(*files, classes=["cat"])


BROKEN_OBJECTS: list[tuple[str, Any]] = [
    ("no_area", coco_object(10, 3, [5, 5, 0, 9])),
    ("no_area", coco_object(10, 3, [5, 5, 9, -2])),
    ("outside_image", coco_object(10, 3, [64, 0, 9, 9])),
    ("non_finite", coco_object(10, 3, [5, 5, float("nan"), 9])),
    ("non_finite", coco_object(10, 3, [5, 5, float("inf"), 9])),
    ("unknown_class", coco_object(10, 4, [5, 5, 9, 9])),
    ("unknown_class", coco_object(10, None, [5, 5, 9, 9])),
    ("unknown_class", coco_object(10, [3], [5, 5, 9, 9])),
    ("invalid_object", coco_object(10, 3, [5, 5, 9])),
    ("invalid_object", coco_object(10, 3, [5, 5, "9", 9])),
    ("invalid_object", coco_object(10, 3, None)),
    ("invalid_object", coco_object(10, 3, [5, 5, 9, 9], iscrowd=2)),
    ("invalid_object", coco_object(10, 3, [5, 5, 9, 9], area=-2)),
    ("invalid_object", coco_object(10, 3, [5, 5, 9, 9], area="large")),
]


@pytest.mark.parametrize(("kind", "broken"), BROKEN_OBJECTS)
def test_broken_objects_are_skipped_and_named(tmp_path: Path, kind: str, broken: dict) -> None:
    content = coco_content(2)
    good = coco_object(10, 3, [1, 1, 9, 9])
    content["annotations"] = [good, dict(broken), dict(good)]
    files = make_coco(tmp_path, content)
    dataset = COCODetection(*files)
    assert dataset[0].boxes.tolist() == [[1, 1, 10, 10]] * 2
    assert problems(dataset) == [(kind, "0.png", 1)]
    assert "annotation id 1001" in dataset.report.summary()
    with pytest.raises(AnnotationError, match="0.png, object 1: annotation id 1001"):
        COCODetection(*files, on_error="raise")


def test_a_box_partly_outside_is_clipped_and_counted(tmp_path: Path) -> None:
    content = coco_content(1)
    content["annotations"] = [coco_object(10, 3, [-2, 40, 20, 20])]
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert dataset[0].boxes.tolist() == [[0, 40, 18, 48]]
    assert problems(dataset) == [("partly_outside", "0.png", 0)]


def test_annotations_without_a_picture(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"] = [
        coco_object(77, 3, [1, 1, 9, 9]),
        coco_object([10], 3, [1, 1, 9, 9]),
        "no object",
        coco_object(20, 3, [1, 1, 9, 9]),
    ]
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert problems(dataset) == [
        ("unknown_image", "instances.json", 0),
        ("unknown_image", "instances.json", 1),
        ("invalid_object", "instances.json", 2),
    ]
    assert len(dataset[1].labels) == 1


def test_broken_pictures_take_their_objects_along(tmp_path: Path) -> None:
    content = coco_content(6)
    content["annotations"] = [coco_object(10 * (i + 1), 3, [i, 1, 9, 9]) for i in range(6)]
    make_coco(tmp_path, content)
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes(b"")
    content["images"][2]["width"] = 640
    content["images"][3]["id"] = 30
    del content["images"][4]["file_name"]
    content["images"].append("no object")
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 40]
    (tmp_path / "instances.json").write_text(json.dumps(content))
    dataset = COCODetection(tmp_path, tmp_path / "instances.json")
    assert dataset.image_ids == [60] and dataset[0].boxes.tolist() == [[5, 1, 14, 10]]
    assert problems(dataset) == [
        ("missing_image", "0.png", None),
        ("unreadable_image", "1.png", None),
        ("size_mismatch", "instances.json, images[2]", None),
        ("duplicate_image", "instances.json, images[3]", None),
        ("invalid_annotation", "instances.json, images[4]", None),
        ("invalid_annotation", "instances.json, images[6]", None),
    ]
    trusting = COCODetection(tmp_path, tmp_path / "instances.json", trust_picture_size=True)
    assert trusting.image_ids == [30, 60] and trusting[0].original_size == (64, 48)


def test_missing_size_and_string_ids(tmp_path: Path) -> None:
    content = coco_content(2)
    del content["images"][0]["width"]
    content["images"][1]["id"] = "second"
    content["annotations"] = [coco_object("second", 3, [1, 1, 9, 9])]
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert dataset.image_ids == [10, "second"]
    assert dataset[0].original_size == (64, 48) and len(dataset[1].labels) == 1
    assert problems(dataset) == [("missing_size", "instances.json, images[0]", None)]


def test_exists_does_not_open_pictures(tmp_path: Path) -> None:
    files = make_coco(tmp_path, coco_content(2))
    (tmp_path / "0.png").write_bytes(b"")
    assert len(COCODetection(*files, check_images="exists")) == 2
    assert len(COCODetection(*files)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "expected an object, got a list"),
        ('{"images": [], "annotations": []}', "expected a list under 'categories'"),
        ('{"images": 3, "annotations": [], "categories": []}', "expected a list under 'images', got int"),
        ('{"images": [], "annotations": [], "categories": []}', "classes: expected at least one name"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', r"categories\[0\]: expected an object"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": []}]}', r"categories\[0\]: expected an"),
        ('{"images": [], "annotations": [], "categories": ["car"]}', r"categories\[0\]: expected an object"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            r"categories\[1\]: id or name comes twice",
        ),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "no image left"),
    ],
)
def test_refuses_files_that_are_not_coco(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        COCODetection(tmp_path, tmp_path / "a.json")


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="image_dir: no such folder"):
        COCODetection(tmp_path / "gone", tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="annotation_file: no such file"):
        COCODetection(tmp_path, tmp_path / "a.json")


def test_supercategories(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"] = [coco_object(10, 3, [1, 1, 9, 9])]
    for category, above in zip(content["categories"], ("animal", 7), strict=False):
        category["supercategory"] = above
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert dataset.supercategories == {content["categories"][0]["name"]: "animal"}
    assert dataset.subset([0], "a part").supercategories == dataset.supercategories
