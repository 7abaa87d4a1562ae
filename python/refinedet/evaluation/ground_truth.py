"""Ground truth for evaluation: a COCO dictionary or file, checked and turned into flat arrays."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import is_text
from .schema import ImageId, ResultsError, check_bbox, check_id, is_finite, is_int, read_json, shown


@dataclass(frozen=True)
class GroundTruth:
    """The objects of all images of a data set, boxes in pixels of the original image.

    image_ids: all images, also those without objects. Label i stands for class_names[i - 1] and
    category_ids[i - 1]. Per object (G of them, images in any order): image_index (G,) int64 into
    image_ids; boxes (G, 4) float64 (x1, y1, x2, y2); labels (G,) int64 in 1..C; area (G,) float64;
    crowd (G,) bool (COCO iscrowd); difficult (G,) bool (VOC difficult).
    """

    image_ids: list[ImageId]
    class_names: list[str]
    category_ids: list[int]
    image_index: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def load(
        source: GroundTruth | Mapping[str, Any] | str | Path,
        class_names: Sequence[str] | None = None,
    ) -> GroundTruth:
        """From a COCO dictionary (images, annotations, categories), a JSON file of one, or itself.

        class_names: the order of the classes that the labels of detections follow, found among the
        categories by name; None: the order in which the categories are listed. Categories beyond
        class_names are refused where an object has them. An annotation may carry `iscrowd`, `area`
        (default: width x height) and `difficult`, as 0 or 1. Raises ResultsError naming the entry.
        """
        if isinstance(source, GroundTruth):
            if class_names is not None and list(class_names) != source.class_names:
                raise ResultsError(f"class_names: expected {source.class_names}, got {list(class_names)}")
            return source
        name = "ground truth"
        if isinstance(source, str | Path):
            name = str(source)
            source = read_json(source)
        return _from_coco(source, class_names, name)

    def subset(self, image_ids: Iterable[ImageId]) -> GroundTruth:
        """The ground truth of some of the images, in the order of this data set."""
        wanted = set(image_ids)
        unknown = wanted - set(self.image_ids)
        if unknown:
            raise ResultsError(f"image_ids: no such image {sorted(unknown, key=str)[0]!r}")
        keep = np.array([image_id in wanted for image_id in self.image_ids], bool)
        renumbered = np.cumsum(keep) - 1
        rows = keep[self.image_index]
        return GroundTruth(
            [image_id for image_id in self.image_ids if image_id in wanted],
            self.class_names,
            self.category_ids,
            renumbered[self.image_index[rows]],
            self.boxes[rows],
            self.labels[rows],
            self.area[rows],
            self.crowd[rows],
            self.difficult[rows],
        )


def _from_coco(source: Any, class_names: Sequence[str] | None, name: str) -> GroundTruth:
    if not isinstance(source, Mapping):
        raise ResultsError(
            f"{name}: expected an object with images, annotations and categories, got {type(source).__name__}"
        )
    for key in ("images", "annotations", "categories"):
        if not isinstance(source.get(key), Sequence) or isinstance(source[key], str | bytes):
            raise ResultsError(f"{name}: expected a list under {key!r}, has {shown(sorted(source, key=str))}")
    image_ids = _unique_ids(source["images"], f"{name}: images")
    names, category_ids = _classes(source["categories"], class_names, name)
    image_of = {image_id: i for i, image_id in enumerate(image_ids)}
    label_of = {category: i + 1 for i, category in enumerate(category_ids)}

    entries = source["annotations"]
    image_index = np.zeros(len(entries), np.int64)
    labels = np.zeros(len(entries), np.int64)
    boxes = np.zeros((len(entries), 4), np.float64)
    area = np.zeros(len(entries), np.float64)
    crowd = np.zeros(len(entries), bool)
    difficult = np.zeros(len(entries), bool)
    for i, entry in enumerate(entries):
        where = f"{name}: annotations[{i}]"
        _require(entry, ("image_id", "category_id", "bbox"), where)
        if not isinstance(entry["image_id"], Hashable) or entry["image_id"] not in image_of:
            raise ResultsError(f"{where}: image_id: no such image {shown(entry['image_id'])}")
        if not isinstance(entry["category_id"], Hashable) or entry["category_id"] not in label_of:
            raise ResultsError(f"{where}: category_id: no such class {shown(entry['category_id'])}")
        check_bbox(entry["bbox"], f"{where}: bbox")
        x, y, w, h = entry["bbox"]
        image_index[i] = image_of[entry["image_id"]]
        labels[i] = label_of[entry["category_id"]]
        boxes[i] = (x, y, x + w, y + h)
        size = entry.get("area", w * h)
        if not (is_finite(size) and size >= 0):
            raise ResultsError(f"{where}: area: expected a number >= 0, got {shown(size)}")
        area[i] = size
        crowd[i] = _flag(entry, "iscrowd", where)
        difficult[i] = _flag(entry, "difficult", where)
    return GroundTruth(image_ids, names, category_ids, image_index, boxes, labels, area, crowd, difficult)


def _classes(categories: Sequence[Any], class_names: Sequence[str] | None, name: str) -> tuple[list[str], list[int]]:
    ids = _unique_ids(categories, f"{name}: categories")
    listed = []
    for i, category in enumerate(categories):
        _require(category, ("name",), f"{name}: categories[{i}]")
        if not is_int(category["id"]):
            raise ResultsError(f"{name}: categories[{i}]: id: expected an integer, got {shown(category['id'])}")
        listed.append(_class_name(category["name"], f"{name}: categories[{i}]: name"))
    seen: set[str] = set()
    for i, class_name in enumerate(listed):
        if class_name in seen:
            raise ResultsError(f"{name}: categories[{i}]: name {shown(class_name)} comes twice")
        seen.add(class_name)
    if class_names is None:
        return listed, [int(category) for category in ids]
    wanted = list(class_names)
    if len(set(wanted)) != len(wanted):
        raise ResultsError(f"class_names: expected distinct names, got {wanted}")
    missing = [class_name for class_name in wanted if class_name not in listed]
    if missing:
        raise ResultsError(f"{name}: no category named {missing[0]!r}, has {shown(listed)}")
    return wanted, [int(ids[listed.index(class_name)]) for class_name in wanted]


def _class_name(value: Any, where: str) -> str:
    if not (is_int(value) or isinstance(value, str)) or not is_text(str(value)):
        raise ResultsError(f"{where}: expected text, got {shown(value)}")
    return str(value)


def _unique_ids(entries: Sequence[Any], where: str) -> list[Any]:
    seen: dict[Any, int] = {}
    for i, entry in enumerate(entries):
        _require(entry, ("id",), f"{where}[{i}]")
        check_id(entry["id"], f"{where}[{i}]: id")
        if entry["id"] in seen:
            raise ResultsError(f"{where}[{i}]: id {shown(entry['id'])} comes twice, first at {seen[entry['id']]}")
        seen[entry["id"]] = i
    return list(seen)


def _require(entry: Any, keys: Sequence[str], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ResultsError(f"{where}: expected an object, got {type(entry).__name__}")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ResultsError(f"{where}: {', '.join(missing)} missing, has {shown(sorted(entry, key=str))}")


def _flag(entry: Mapping[str, Any], key: str, where: str) -> bool:
    value = entry.get(key, 0)
    if value not in (0, 1):
        raise ResultsError(f"{where}: {key}: expected 0 or 1, got {shown(value)}")
    return bool(value)
