"""What is said of a data set before a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refinedet.data import VOCDetection, YOLODetection
from refinedet.data.annotations import AnnotationTable
from refinedet.data.statistics import measure
from refinedet.data.summary import describe
from refinedet.text_table import align, display_width

from .makers import make_voc, voc_object, voc_xml
from .test_formats import YAML, make_yolo


@pytest.fixture
def dataset(tmp_path: Path) -> VOCDetection:
    """Two images of 64 x 48 with two objects and none, and one of an object with a problem."""
    files = {
        "a": voc_xml([voc_object("car", (0, 0, 32, 24)), voc_object("dog", (0, 0, 64, 48))]),
        "b": voc_xml(),
        "c": voc_xml([voc_object("car", (1, 1, 1, 9))]),
    }
    return VOCDetection(make_voc(tmp_path, files), "train", classes=["car", "dog", "dragon"], quiet=True)


def test_statistics_are_in_pixels_of_the_input(dataset: VOCDetection) -> None:
    found = measure(dataset.table, 3, 320)
    assert found.per_class.tolist() == [1, 1, 0] and found.per_image.tolist() == [2, 0, 0]
    np.testing.assert_allclose(found.boxes, [[0, 0, 160, 160], [0, 0, 320, 320]])
    np.testing.assert_allclose(found.sides, [160, 320])
    assert found.sizes.tolist() == [2, 2] and found.ratios.tolist() == [1, 1]
    assert measure(dataset.table, 3, 60).sizes.tolist() == [0, 1]  # sides of 30 and 60
    empty = measure(dataset.table.select([1]), 3, 320)
    assert empty.sizes.tolist() == [] and empty.per_class.tolist() == [0, 0, 0]


def test_describe(dataset: VOCDetection) -> None:
    val = dataset.subset([0], "one image")
    text = describe({"train": dataset, "val": val}, 320)
    rows = {line[:32].strip(): line[32:].split("  ") for line in text.splitlines()[:10]}
    cells = {name: [cell.strip() for cell in row if cell.strip()] for name, row in rows.items()}
    assert cells[""] == ["train", "val"]
    assert cells["images"] == ["3", "1"] and cells["without objects"] == ["2", "0"]
    assert cells["objects"] == ["2", "2"] and cells["width x height"] == ["64 x 48", "64 x 48"]
    assert cells["per image: least, median, most"] == ["0, 0, 2", "2, 2, 2"]
    assert cells["small, medium, large at 320 px"] == ["0%, 0%, 100%", "0%, 0%, 100%"]
    assert cells["car"] == ["1", "1"] and cells["dragon"] == ["0", "0"]
    assert "no objects in train of: dragon" in text and "no objects in val of: dragon" in text
    # One report of the files, though both parts come of it.
    assert text.count("1 problem: 1 no_area") == 1 and "train and val: VOC" in text


def test_what_a_part_leaves_out_is_said(dataset: VOCDetection) -> None:
    part = dataset.subset([0], "cars", objects=dataset.table.labels == 1, reason="dog")
    assert len(part.table.labels) == 1
    assert "train: 1 left out: dog" in describe({"train": part}, 320)


def test_many_classes_show_the_most_and_the_least_frequent(tmp_path: Path) -> None:
    objects = [voc_object(f"class{i:02}", (1, 1, 20, 20)) for i in range(50) for _ in range(i + 1)]
    dataset = VOCDetection(make_voc(tmp_path, {"a": voc_xml(objects)}), "train", classes="auto", quiet=True)
    lines = describe({"train": dataset}, 320, most_classes=4).splitlines()
    assert [line.split() for line in lines[6:11]] == [
        ["class49", "50"],
        ["class48", "49"],
        ["...", "46", "classes", "in", "between"],
        ["class01", "2"],
        ["class00", "1"],
    ]
    assert sum("class" in line for line in describe({"train": dataset}, 320, most_classes=None).splitlines()) == 50


def test_images_without_label_files_are_counted(tmp_path: Path) -> None:
    make_yolo(tmp_path, {"train/a": "0 0.5 0.5 0.5 0.5", "train/b": None, "train/c": None}, YAML)
    dataset = YOLODetection(tmp_path, quiet=True)
    assert "2 images have no label file and count as images without objects" in describe({"train": dataset}, 320)
    assert dataset.report.to_dict()["notes"] and not dataset.report.problems


def test_wide_characters_are_aligned() -> None:
    assert display_width("cafe\u0301") == 4 and display_width("\u8f66") == 2
    lines = align([["", "n"], ["\u8f66\u8f86", "12"], ["a", "3"]])
    assert lines == ["       n", "\u8f66\u8f86  12", "a      3"]


def test_selecting_of_a_table_is_as_from_records(dataset: VOCDetection) -> None:
    table = dataset.table
    for images in ([], [2, 0], [0, 0], [1]):
        want = AnnotationTable.from_records([table.record(i) for i in images])
        got = table.select(images)
        for name in ("sizes", "offsets", "boxes", "labels", "difficult", "crowd", "areas"):
            one, two = getattr(got, name), getattr(want, name)
            assert one.dtype == two.dtype and one.tolist() == two.tolist(), name
        assert (got.image_ids, got.paths) == (want.image_ids, want.paths)
