"""Photographs with an EXIF orientation: which way the annotations of each format count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refinedet.data import COCODetection, CSVDetection, VOCDetection, YOLODetection
from refinedet.data.dataset import DetectionDataset

from .makers import coco_content, coco_object, make_coco, make_voc, voc_object, voc_xml
from .test_formats import YAML, make_yolo, put
from .test_image_io import save_turned

# The bright quarter of a photograph of 40 x 24 as stored, and where orientation 6 (a quarter turn clockwise) and 3 (a
# half turn) put it.
STORED, TURNED, HALF = (0, 0, 10, 6), (18, 0, 24, 10), (30, 18, 40, 24)


def make(root: Path, size: tuple[int, int] | None, box: tuple[int, ...], orientation: int) -> Path:
    make_voc(root, {"a": voc_xml([voc_object("car", box)], size=size)})  # type: ignore[arg-type]
    save_turned(root / "JPEGImages/a.jpg", orientation)
    return root


def is_on_the_object(dataset: DetectionDataset) -> bool:
    sample = dataset[0]
    sample.check()
    x1, y1, x2, y2 = sample.boxes[0].astype(int)
    outside = sample.image.astype(int).copy()
    outside[y1:y2, x1:x2] = 0
    return sample.image[y1:y2, x1:x2].mean() > 200 and np.quantile(outside, 0.97) < 60


@pytest.mark.parametrize(
    ("size", "box", "orientation"),
    [
        ((40, 24), STORED, 6),  # the annotated size tells
        ((24, 40), TURNED, 6),
        (None, TURNED, 6),  # it does not: the tag
        ((40, 24), HALF, 3),
        ((40, 24), STORED, 1),
    ],
)
@pytest.mark.parametrize("cache_images", [False, True])
def test_auto(
    tmp_path: Path, size: tuple[int, int] | None, box: tuple[int, ...], orientation: int, cache_images: bool
) -> None:
    root = make(tmp_path, size, box, orientation)
    dataset = VOCDetection(root, "train", cache_images=cache_images)
    assert is_on_the_object(dataset) and is_on_the_object(dataset.subset([0], "all"))
    assert set(dataset.report.counts) <= {"missing_size"}
    if size is not None:
        assert is_on_the_object(VOCDetection(root, "train", check_images="exists"))


@pytest.mark.parametrize(("size", "orientation"), [((40, 24), 6), (None, 6), ((40, 24), 3)])
def test_stored(tmp_path: Path, size: tuple[int, int] | None, orientation: int) -> None:
    dataset = VOCDetection(make(tmp_path, size, STORED, orientation), "train", orientation="stored")
    assert is_on_the_object(dataset) and dataset[0].original_size == (40, 24)


def test_sizes_that_fit_neither_way_name_the_tag(tmp_path: Path) -> None:
    root = make(tmp_path, (24, 40), TURNED, 6)
    with pytest.raises(ValueError, match=r"a.jpg has 40 x 24 \(24 x 40 as its EXIF orientation turns it\)"):
        VOCDetection(root, "train", orientation="stored")
    root = make(tmp_path, (23, 40), TURNED, 6)
    with pytest.raises(ValueError, match=r"a.jpg has 24 x 40 \(40 x 24 as stored, without its EXIF orientation\)"):
        VOCDetection(root, "train")


@pytest.mark.parametrize(("orientation", "box"), [("auto", TURNED), ("stored", STORED)])
def test_formats_without_sizes(tmp_path: Path, orientation: str, box: tuple[int, int, int, int]) -> None:
    width, height = (24, 40) if orientation == "auto" else (40, 24)
    x1, y1, x2, y2 = box
    line = f"0 {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} {(x2 - x1) / width} {(y2 - y1) / height}"
    make_yolo(tmp_path, {"train/a": line}, YAML)
    save_turned(tmp_path / "images/train/a.jpg", 6)
    table = put(tmp_path / "a.csv", f"images/train/a.jpg,{x1},{y1},{x2},{y2},car")
    assert is_on_the_object(YOLODetection(tmp_path, orientation=orientation))  # type: ignore[arg-type]
    assert is_on_the_object(CSVDetection(table, orientation=orientation))


@pytest.mark.parametrize(("size", "box"), [((40, 24), STORED), ((24, 40), TURNED)])
def test_coco(tmp_path: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    content = coco_content(1)
    content["images"][0].update(width=size[0], height=size[1])
    content["annotations"] = [coco_object(10, 3, [box[0], box[1], box[2] - box[0], box[3] - box[1]])]
    files = make_coco(tmp_path, content)
    save_turned(tmp_path / "0.png", 6)
    assert is_on_the_object(COCODetection(*files, on_error="raise"))


def test_refuses_other_values(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="orientation: expected 'auto' or 'stored', got 'exif'"):
        VOCDetection(tmp_path, "train", orientation="exif")  # type: ignore[arg-type]
