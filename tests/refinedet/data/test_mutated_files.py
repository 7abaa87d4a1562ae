"""Mutated files of the text formats end in a named error or in a report that counts what was skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.data import COCODetection, CSVDetection, VOCFolderDetection, YOLODetection
from refinedet.data.dataset import DetectionDataset

from .makers import coco_content, coco_object, make_coco, voc_object, voc_xml
from .test_formats import YAML, make_table, make_yolo, put, put_image

CAR = voc_object("car", (1, 1, 20, 30))


def yolo(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    make_yolo(root, {"train/a": "0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.3 0.2 0.3 0.7\n", "train/b": "1 0.5 0.5 1 1"}, YAML)
    return root / "labels/train/a.txt", lambda: YOLODetection(root)


def yolo_yaml(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    yolo(root)
    return root / "data.yaml", lambda: YOLODetection(root)


def table(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    path = make_table(root, ["path,x1,y1,x2,y2,class", "a.jpg,1,2,20,30,car", 'b.jpg,5,6,9,9,"a dog"', "b.jpg,,,,,"])
    return path, lambda: CSVDetection(path)


def voc(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    for name in ("a", "b"):
        put_image(root / f"{name}.jpg")
        put(root / f"{name}.xml", '<?xml version="1.0" encoding="utf-8"?>' + voc_xml([CAR, CAR]))
    return root / "a.xml", lambda: VOCFolderDetection(root)


def coco(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    content = coco_content(2)
    content["annotations"] = [coco_object(10, 3, [1, 1, 9, 9]), coco_object(20, 7, [1, 1, 9, 9], area=81, iscrowd=0)]
    files = make_coco(root, content)
    return files[1], lambda: COCODetection(*files)


PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"-1e400", b"9" * 40, b"null", b'"', b"\0", b"..", b"~", b"\n"]
    ),
)


@pytest.mark.parametrize("make", [yolo, yolo_yaml, table, voc, coco])
def test_mutated_files_end_in_a_named_error_or_a_report(
    tmp_path: Path, make: Callable[[Path], tuple[Path, Callable[[], DetectionDataset]]]
) -> None:
    path, open_it = make(tmp_path)
    good = path.read_bytes()

    @settings(derandomize=True, deadline=None, max_examples=80)
    @given(st.lists(st.tuples(st.integers(0, len(good)), st.integers(0, 8), PIECES), min_size=1, max_size=3))
    def check(edits: list[tuple[int, int, bytes]]) -> None:
        data = good
        for start, cut, piece in edits:
            data = data[:start] + piece + data[start + cut :]
        path.write_bytes(data)
        try:
            dataset = open_it()
        except (ValueError, TypeError, FileNotFoundError) as error:
            assert str(error)
            return
        assert dataset.report.images == len(dataset) > 0
        for index in range(len(dataset)):
            dataset[index].check()

    check()
