"""Writing ground truth in COCO's JSON format, from data sets of any kind and from samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ..structures import ImageId
from .dataset import DetectionDataset

Difficult = Literal["flag", "crowd", "drop"]


class Annotated(Protocol):
    """What can be written: a Sample, an ImageRecord, anything with these fields.

    boxes (N, 4): (x1, y1, x2, y2) in pixels of the image of original_size (width, height).
    """

    @property
    def image_id(self) -> ImageId: ...
    @property
    def path(self) -> str: ...
    @property
    def original_size(self) -> tuple[int, int]: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def difficult(self) -> np.ndarray: ...
    @property
    def crowd(self) -> np.ndarray: ...


def coco_dict(
    pictures: Iterable[Annotated],
    class_names: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    image_dir: str | Path | None = None,
    difficult: Difficult = "flag",
) -> dict[str, Any]:
    """Images and objects as the dictionary of a COCO annotation file.

    category_ids: the id of every class; None: 1..C, the labels. image_dir: what file names are
    written relative to; None: the bare names. difficult: what becomes of VOC's difficult objects.
    "flag" writes them with "difficult": 1, which this package's evaluation reads and other readers
    pass over, so that to them it is an ordinary object; "crowd" also sets iscrowd, so that
    pycocotools ignores the object and detections on it, with the overlap it uses for crowds; "drop"
    leaves it out. Annotation ids count from 1. "area" is that of the box unless the image has
    `areas`. Raises ValueError for a label without a class and for ids that come twice.
    """
    if difficult not in ("flag", "crowd", "drop"):
        raise ValueError(f"difficult: expected 'flag', 'crowd' or 'drop', got {difficult!r}")
    names = list(class_names)
    categories = list(range(1, len(names) + 1)) if category_ids is None else list(category_ids)
    if len(categories) != len(names) or len(set(categories)) != len(names):
        raise ValueError(f"category_ids: expected {len(names)} different ids, got {categories}")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    seen: set[ImageId] = set()
    for sample in pictures:
        if sample.image_id in seen:
            raise ValueError(f"pictures: image_id {sample.image_id!r} comes twice")
        seen.add(sample.image_id)
        width, height = sample.original_size
        images.append(
            {
                "id": sample.image_id,
                "file_name": _file_name(sample.path, image_dir),
                "width": int(width),
                "height": int(height),
            }
        )
        for entry in _annotations(sample, categories, difficult):
            annotations.append({"id": len(annotations) + 1, **entry})
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": category, "name": name} for category, name in zip(categories, names, strict=True)],
    }


def to_coco_dict(
    dataset: DetectionDataset,
    *,
    image_dir: str | Path | None = None,
    difficult: Difficult = "flag",
) -> dict[str, Any]:
    """The ground truth of a data set for COCO evaluation; no image is read.

    Image ids are those of the samples, category ids those of the data set. Objects the data set
    left out are missing here: to evaluate, make it with use_difficult=True or drop_crowd=False.
    image_dir, difficult: as for coco_dict.
    """
    return coco_dict(
        (dataset.record(index) for index in range(len(dataset))),
        dataset.class_names,
        category_ids=dataset.category_ids,
        image_dir=image_dir,
        difficult=difficult,
    )


def write_coco_annotations(
    path: str | Path,
    pictures: Iterable[Annotated],
    class_names: Sequence[str],
    *,
    category_ids: Sequence[int] | None = None,
    image_dir: str | Path | None = None,
    difficult: Difficult = "flag",
) -> None:
    """Writes coco_dict of the same arguments to a JSON file; its folder must exist."""
    content = coco_dict(
        pictures,
        class_names,
        category_ids=category_ids,
        image_dir=image_dir,
        difficult=difficult,
    )
    Path(path).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def _annotations(sample: Annotated, categories: Sequence[int], difficult: Difficult) -> Iterable[dict[str, Any]]:
    areas = getattr(sample, "areas", None)
    for row in range(len(sample.labels)):
        is_difficult, is_crowd = bool(sample.difficult[row]), bool(sample.crowd[row])
        if is_difficult and difficult == "drop":
            continue
        label = int(sample.labels[row])
        if not 1 <= label <= len(categories):
            raise ValueError(
                f"pictures: image {sample.image_id!r}: expected labels 1 to {len(categories)}, got {label}"
            )
        x1, y1, x2, y2 = (float(value) for value in sample.boxes[row])
        yield {
            "image_id": sample.image_id,
            "category_id": int(categories[label - 1]),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1) if areas is None else float(areas[row]),
            "iscrowd": int(is_crowd or (is_difficult and difficult == "crowd")),
            "difficult": int(is_difficult),
        }


def _file_name(path: str, image_dir: str | Path | None) -> str:
    if image_dir is None:
        return Path(path).name
    return Path(os.path.relpath(path, image_dir)).as_posix()
