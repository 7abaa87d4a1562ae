"""Mutated files of every kind end in a named error or in a report that counts what was skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.data import (
    COCODetection,
    CSVDetection,
    ImageReadError,
    VOCDetection,
    VOCFolderDetection,
    YOLODetection,
    read_image,
)
from refinedet.data.dataset import DetectionDataset
from refinedet.data.image_io import read_oriented, read_stored_size

from .makers import coco_content, coco_object, make_coco, make_voc, noise, voc_object, voc_xml
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


def voc_layout(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    make_voc(root, {"a": voc_xml([CAR]), "b": voc_xml()})
    return root / "Annotations/a.xml", lambda: VOCDetection(root, "train", classes=["car"])


def voc_list(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    voc_layout(root)
    return root / "ImageSets/Main/train.txt", lambda: VOCDetection(root, "train", classes=["car"])


def yolo_list(root: Path) -> tuple[Path, Callable[[], DetectionDataset]]:
    make_yolo(root, {"a": "0 0.5 0.5 0.5 0.5", "b": "1 0.5 0.5 0.5 0.5"}, "train: list.txt\nnames: [car, dog]\n")
    return put(root / "list.txt", "./images/a.jpg\nimages/b.jpg\n"), lambda: YOLODetection(root)


PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\xff\xfe", b"\xef\xbb\xbf", b"nan", b"-1e400", b"9" * 40, b"null", b'"', b"\0", b"..", b"~", b"\n"]
    ),
    st.sampled_from([b"../../", b"/etc/", b"[" * 3000, b"9" * 400, b"<a>" * 2000, b"\\ud800", b"{}", b"*a", b"&a "]),
)


@pytest.mark.parametrize("make", [yolo, yolo_yaml, yolo_list, table, voc, voc_layout, voc_list, coco])
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
            assert str(tmp_path) in str(error) or str(error).startswith("classes: ")
            return
        assert dataset.report.images == len(dataset) > 0
        assert len(dataset) + len(dataset.report.problems) + sum(dataset.report.excluded.values()) > 0
        json.dumps(dataset.report.to_dict(), ensure_ascii=False).encode()
        for index in range(len(dataset)):
            dataset[index].check()

    check()


IMAGES = ["jpg", "png", "tiff", "bmp", "webp", "gif", "ppm", "pgm", "jp2", "avif", "hdr", "ras"]


@pytest.mark.parametrize("kind", IMAGES)
def test_mutated_images_are_pixels_or_a_named_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFINEDET_MAX_PIXELS", "100000")  # more would be slow, and no more is needed
    path = tmp_path / f"image.{kind}"
    pixels = cv2.GaussianBlur(noise(40, 30), (5, 5), 0)
    pixels = pixels.astype(np.float32) / 255 if kind == "hdr" else pixels[:, :, 0] if kind == "pgm" else pixels
    try:
        made, data = cv2.imencode(f".{kind}", pixels)
    except cv2.error:
        made = False
    if not made:
        pytest.skip(f"this OpenCV writes no {kind}")
    good = data.tobytes()
    path.write_bytes(good)
    assert read_image(path).shape == (30, 40, 3)
    head = min(len(good), 200)  # where most of what decides anything stands
    places = st.one_of(st.integers(0, head), st.integers(0, len(good)))
    flips = st.tuples(places, st.integers(0, 8), st.binary(max_size=8))

    @settings(derandomize=True, deadline=None, max_examples=120)
    @given(st.lists(flips, min_size=1, max_size=3), st.integers(0, len(good)))
    def check(edits: list[tuple[int, int, bytes]], end: int) -> None:
        data = good
        for start, cut, piece in edits:
            data = data[:start] + piece + data[start + cut :]
        path.write_bytes(data[: max(end, len(data) * (end % 3 > 0))])
        for read in (read_image, lambda p: read_image(p, apply_orientation=True), lambda p: read_oriented(p, (40, 30))):
            try:
                image = read(path)
            except ImageReadError as error:
                assert str(path) in str(error)
            else:
                assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
                assert image.shape[0] * image.shape[1] <= 100_000
        try:
            width, height = read_stored_size(path).size
        except ImageReadError as error:
            assert str(path) in str(error)
        else:
            assert 0 < width * height <= 100_000

    check()
    capfd.readouterr()  # what the libraries below OpenCV write of each
