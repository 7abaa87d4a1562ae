"""Small data sets on disk, and samples in memory, for the tests of the data pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import settings

from refinedet.structures import Sample

BCCD = Path(__file__).resolve().parents[4] / "shared" / "data" / "bccd"
needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD photographs are not here")

# For hypothesis: the same examples in every run, and no limit of time on a busy machine.
fixed = settings(derandomize=True, deadline=None)

Box = tuple[Any, Any, Any, Any]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """An image of random pixels, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make_sample(
    boxes: Sequence[Sequence[float]] = (),
    *,
    size: tuple[int, int] = (64, 48),
    image: np.ndarray | None = None,
    crowd: Sequence[bool] | None = None,
    image_id: int | str = "a",
) -> Sample:
    """A sample with labels 1, 2, ..., on noise of (width, height) unless an image is given."""
    image = noise(*size) if image is None else image
    count = len(boxes)
    return Sample(
        image=image,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.arange(1, count + 1, dtype=np.int64),
        difficult=np.zeros(count, bool),
        crowd=np.zeros(count, bool) if crowd is None else np.array(crowd, bool),
        image_id=image_id,
        path=f"{image_id}.jpg",
        original_size=(image.shape[1], image.shape[0]),
    )


def voc_object(name: str, box: Box, difficult: int | str = 0) -> str:
    """One <object> of a VOC annotation; box is (xmin, ymin, xmax, ymax)."""
    corners = "".join(
        f"<{corner}>{value}</{corner}>" for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{corners}</bndbox>"
        # A part, as persons of VOC have them: its box is no object of its own.
        "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    )


def voc_xml(objects: Sequence[str] = (), size: tuple[int, int] | None = (64, 48)) -> str:
    """A VOC annotation; size (width, height), None for none."""
    text = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{text}{''.join(objects)}</annotation>"


def make_voc(
    root: Path,
    files: Mapping[str, str | None],
    *,
    split: str = "train",
    extension: str = ".jpg",
    size: tuple[int, int] = (64, 48),
) -> Path:
    """A VOC layout with a split of all ids of `files`: id to XML text, or None for no annotation."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (name, xml) in enumerate(files.items()):
        assert cv2.imwrite(str(root / "JPEGImages" / f"{name}{extension}"), noise(*size, seed=number))
        if xml is not None:
            (root / "Annotations" / f"{name}.xml").write_text(xml)
    (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(files) + "\n")
    return root


def coco_content(images: int = 2) -> dict[str, Any]:
    """COCO JSON with gaps in its ids: images 10, 20, ... of 64 x 48, categories 3, 7, 90, no object."""
    return {
        "images": [{"id": 10 * (i + 1), "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(images)],
        "annotations": [],
        # Not in the order of the ids: labels must follow the ids.
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}, {"id": 7, "name": "bus"}],
    }


def coco_object(image_id: Any, category_id: Any, bbox: Any, **fields: Any) -> dict[str, Any]:
    """One annotation; its id is 1000 plus what its position will be, set by make_coco."""
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, **fields}


def make_coco(root: Path, content: dict[str, Any]) -> tuple[Path, Path]:
    """(image_dir, annotation_file): the JSON and a PNG of 64 x 48 for every image in it."""
    for place, entry in enumerate(content["annotations"]):
        if isinstance(entry, dict):
            entry.setdefault("id", 1000 + place)
    for number, entry in enumerate(content["images"]):
        assert cv2.imwrite(str(root / entry["file_name"]), noise(64, 48, seed=number))
    annotation_file = root / "instances.json"
    annotation_file.write_text(json.dumps(content))
    return root, annotation_file
