"""Data sets with one annotation file in COCO's JSON format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..checks import check_choice, check_class_names, is_text
from ..structures import ImageId
from .annotations import AnnotationTable
from .box_checks import check_boxes, describe
from .checks import CheckImages, OnError, Orientation, check_options, settle_size
from .dataset import DetectionDataset
from .image_files import expand_home, inside
from .report import AnnotationReport, ProblemKind

_LARGEST = 1 << 63  # what has no place in a table of 64-bit integers is no number of anything


class COCODetection(DetectionDataset):
    """The images of a COCO annotation file with their objects, image_id as in the file.

    Category ids, which need not be contiguous, become labels 1..C: `category_ids[label - 1]` is the
    way back. `annotation_file` keeps the path, for evaluators that read it themselves.
    """

    def __init__(
        self,
        image_dir: str | Path,
        annotation_file: str | Path,
        *,
        classes: Sequence[str] | None = None,
        missing_classes: Literal["refuse", "allow"] = "refuse",
        drop_crowd: bool = True,
        drop_empty: bool = False,
        on_error: OnError = "skip",
        check_images: CheckImages = "header",
        trust_picture_size: bool = False,
        orientation: Orientation = "auto",
        cache_images: bool = False,
        quiet: bool = False,
    ) -> None:
        """Reads and checks the annotation file; images are read later, one by one. A file without "annotations", such
        as COCO's image_info_test-dev2017.json, is a data set to predict on: `annotated` is False.

        image_dir: what the file names of the images are relative to.
        classes: the foreground classes in order, out of the file's categories; None: all categories
            by ascending id, for COCO itself the usual 80. Objects of other categories are left out.
            A name that two categories have is one class; a category without objects that is only the
            supercategory of all others, as Roboflow writes one, is none.
        missing_classes: what becomes of `classes` that are no category of the file: "allow" has no
            objects of them, as for a validation file that lacks some; a file without annotations needs them all.
        drop_crowd: leave out iscrowd boxes, as the original training; False keeps them marked as
            crowd, for evaluation or for anchors on them to be ignored.
        drop_empty: leave out images that end up without an object.
        on_error, check_images, trust_picture_size, orientation, cache_images, quiet: as for VOCDetection. In the
            report object_index is the position in the file's list of annotations.
        Raises FileNotFoundError; AnnotationError; ValueError for a file that is not COCO JSON.
        """
        check_options(on_error, check_images, orientation)
        check_choice(missing_classes, "missing_classes", ("refuse", "allow"))
        image_dir, annotation_file = expand_home(image_dir), expand_home(annotation_file)
        if not image_dir.is_dir():
            raise FileNotFoundError(f"image_dir: no such folder: {image_dir}")
        content = _read_content(annotation_file)
        report = AnnotationReport(f"COCO {annotation_file}")
        names, category_ids, label_of = _read_categories(content, classes, annotation_file, missing_classes == "allow")
        images = _Images(annotation_file, report)
        for position, entry in enumerate(content["images"]):
            images.add(position, entry, image_dir, check_images, trust_picture_size, orientation)
        annotated = "annotations" in content
        table = _read_annotations(content["annotations"] if annotated else (), images, label_of, drop_crowd)
        report.found.update(_objects_by_name(content))
        if drop_empty:
            table = _without_empty(table, report)
        self.annotation_file = annotation_file
        super().__init__(
            table,
            names,
            category_ids,
            report,
            annotated=annotated,
            on_error=on_error,
            orientation=orientation,
            cache_images=cache_images,
            quiet=quiet,
        )
        self.supercategories = {
            entry["name"]: entry["supercategory"]
            for entry in content["categories"]
            if entry["name"] in names and isinstance(entry.get("supercategory"), str)
        }


def read_json(path: Path) -> Any:
    """What an annotation file holds. Raises FileNotFoundError; ValueError for what is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"annotation_file: no such file: {path}") from None
    except RecursionError:
        raise ValueError(f"annotation_file: {path} is no data set: it is nested too deeply") from None
    except ValueError as error:  # of JSON, of its encoding, or of a number with thousands of digits
        raise ValueError(f"annotation_file: {path} is not JSON: {error}") from error


def _read_content(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"annotation_file: {path}: expected an object, got a {_kind(content)}")
    for key in ("images", "annotations", "categories"):
        if key == "annotations" and key not in content:
            continue  # a list of images to predict on
        if not isinstance(content.get(key), list):
            raise ValueError(
                f"annotation_file: {path}: expected a list under {key!r}, "
                f"got {_kind(content[key]) if key in content else f'only {sorted(content)}'}"
            )
    return content


def _read_categories(
    content: Mapping[str, Any], classes: Sequence[str] | None, path: Path, allow_missing: bool
) -> tuple[list[str], list[int], dict[int, int]]:
    """Class names, their category ids, and the label of every category id, 0 for one left out.

    A name that comes twice keeps the id that has objects, the lower one where both or none have."""
    name_of: dict[int, str] = {}
    for position, entry in enumerate(content["categories"]):
        where = f"annotation_file: {path}: categories[{position}]"
        name = entry.get("name") if isinstance(entry, dict) else None
        category = _integer(entry.get("id")) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or category is None:
            raise ValueError(f"{where}: expected an object with id and name, got {entry!r:.80}")
        if category in name_of:
            raise ValueError(f"{where}: id or name comes twice: {entry!r}")
        name_of[category] = name
    used = _used_categories(content)
    id_of: dict[str, int] = {}
    for category in sorted(name_of, key=lambda c: (c not in used, c)):
        id_of.setdefault(name_of[category], category)
    if classes is None:
        dummy = _dummy_category(content["categories"], used)
        names = [name for name in sorted(id_of, key=lambda n: id_of[n]) if id_of[name] != dummy]
    else:
        names = list(classes)
    names = check_class_names(names)
    missing = [name for name in names if name not in id_of]
    if missing and not (allow_missing and "annotations" in content):  # results need the ids of all classes
        raise ValueError(
            f"classes: no category {missing[0]!r} in {path}, it has {list(dict.fromkeys(name_of.values()))}"
        )
    for name in missing:
        id_of[name] = max(id_of.values(), default=0) + 1
    label_of = dict.fromkeys(name_of, 0)
    labels = {name: label for label, name in enumerate(names, 1)}
    label_of.update({category: labels[name] for category, name in name_of.items() if name in labels})
    return names, [id_of[name] for name in names], label_of


def _used_categories(content: Mapping[str, Any]) -> set[int | None]:
    return {_integer(entry.get("category_id")) for entry in content.get("annotations", ()) if isinstance(entry, dict)}


def _dummy_category(categories: Sequence[Mapping[str, Any]], used: set[int | None]) -> int | None:
    """The id of a category without objects that is the supercategory of all others; None where there is none."""
    for entry in categories:
        category = _integer(entry["id"])
        others = [other for other in categories if other is not entry]
        if category not in used and others and all(o.get("supercategory") == entry["name"] for o in others):
            return category
    return None


def _objects_by_name(content: Mapping[str, Any]) -> Counter[str]:
    name_of = {_integer(entry["id"]): str(entry["name"]) for entry in content["categories"]}
    entries = content.get("annotations", ())
    ids = (_integer(entry.get("category_id")) for entry in entries if isinstance(entry, dict))
    return Counter(name_of[category] for category in ids if category in name_of)


class _Images:
    """The usable images so far; position_of gives an image's row, -1 for one that was skipped."""

    def __init__(self, annotation_file: Path, report: AnnotationReport) -> None:
        self.annotation_file = annotation_file
        self.report = report
        self.ids: list[ImageId] = []
        self.paths: list[str] = []
        self.names: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.position_of: dict[ImageId, int] = {}

    def find(self, image_id: ImageId | None) -> int | None:
        """The row of an id, -1 for a skipped image, None where there is none. "7" also finds 7, and 7 finds "7"."""
        if image_id is None or image_id in self.position_of:
            return None if image_id is None else self.position_of[image_id]
        other = str(image_id) if isinstance(image_id, int) else _integer(image_id)
        return None if other is None else self.position_of.get(other)

    def add(
        self,
        position: int,
        entry: Any,
        image_dir: Path,
        check_images: CheckImages,
        trust_picture_size: bool,
        orientation: Orientation,
    ) -> None:
        where = f"{self.annotation_file}, images[{position}]"
        image_id = _image_id(entry.get("id")) if isinstance(entry, dict) else None
        if image_id is None:
            detail = f"expected an object with id and file_name, got {entry!r:.80}"
            self.report.add(ProblemKind.INVALID_ANNOTATION, where, None, detail)
            return
        if image_id in self.position_of:
            detail = f"the id {image_id!r} comes twice"
            self.report.add(ProblemKind.DUPLICATE_IMAGE, where, None, detail)
            return
        self.position_of[image_id] = -1
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            detail = f"expected a file_name, got {name!r}"
            self.report.add(ProblemKind.INVALID_ANNOTATION, where, None, detail)
            return
        try:
            path = inside(name, image_dir)
            if "\\" in name and not path.is_file():
                path = inside(name.replace("\\", "/"), image_dir)  # written on Windows
        except ValueError as error:
            self.report.add(ProblemKind.OUTSIDE_FOLDER, where, None, str(error))
            return
        width, height = _integer(entry.get("width")), _integer(entry.get("height"))
        known = width is not None and height is not None and width > 0 and height > 0
        size = settle_size(
            path,
            (width, height) if known else None,  # type: ignore[arg-type]
            where,
            self.report,
            check_images=check_images,
            trust_picture_size=trust_picture_size,
            orientation=orientation,
        )
        if size is None:
            return
        self.position_of[image_id] = len(self.ids)
        self.ids.append(image_id)
        self.paths.append(str(path))
        self.names.append(name)
        self.sizes.append(size)


def _read_annotations(
    entries: Sequence[Any], images: _Images, label_of: Mapping[int, int], drop_crowd: bool
) -> AnnotationTable:
    report = images.report
    rows: list[tuple[int, int, int, bool, float]] = []  # index, image, label, crowd, area
    boxes: list[list[float]] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            detail = f"expected an object, got {entry!r:.80}"
            report.add(ProblemKind.INVALID_OBJECT, images.annotation_file, index, detail)
            continue
        image_id = _image_id(entry.get("image_id"))
        position = images.find(image_id)
        if position == -1:
            continue  # the image was reported and skipped, its objects go with it
        if position is None:
            detail = f"{_name(entry)}: no image has the id {entry.get('image_id')!r}"
            report.add(ProblemKind.UNKNOWN_IMAGE, images.annotation_file, index, detail)
            continue
        category = _integer(entry.get("category_id"))
        label = label_of.get(category) if category is not None else None
        if label is None:
            detail = f"{_name(entry)}: no category has the id {entry.get('category_id')!r}"
            report.add(ProblemKind.UNKNOWN_CLASS, images.names[position], index, detail)
            continue
        fault = _fault(entry)
        if fault:
            detail = f"{_name(entry)}: {fault}"
            report.add(ProblemKind.INVALID_OBJECT, images.names[position], index, detail)
            continue
        if label == 0:
            report.excluded["class"] += 1
        elif entry.get("iscrowd") and drop_crowd:
            report.excluded["crowd"] += 1
        else:
            x, y, w, h = entry["bbox"]
            boxes.append([x, y, x + w, y + h])
            area = entry.get("area")
            if area is None or area == -1:  # -1: as some tools write where they know none
                area = w * h
            rows.append((index, position, label, bool(entry.get("iscrowd")), area))
    return _table(rows, boxes, entries, images)


def _table(
    rows: Sequence[tuple[int, int, int, bool, float]],
    boxes: Sequence[Sequence[float]],
    entries: Sequence[Any],
    images: _Images,
) -> AnnotationTable:
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    index, position, labels = (np.array(column, np.int64) for column in columns[:3])
    crowd, areas = np.array(columns[3], bool), np.array(columns[4], np.float64)
    sizes = np.array(images.sizes, np.int64).reshape(-1, 2)
    given = np.array(boxes, np.float64).reshape(-1, 4)
    checked = check_boxes(given, sizes[position])
    for kind, bad in checked.problems.items():
        for row in bad:
            detail = describe(kind, given[row], sizes[position[row]])
            detail = f"{_name(entries[index[row]])}: {detail}"
            images.report.add(kind, images.names[position[row]], int(index[row]), detail)
    order = np.argsort(position, kind="stable")
    order = order[checked.usable[order]]
    counts = np.bincount(position[order], minlength=len(images.ids))
    return AnnotationTable(
        image_ids=images.ids,
        paths=images.paths,
        sizes=sizes,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=checked.boxes[order],
        labels=labels[order],
        difficult=np.zeros(len(order), bool),
        crowd=crowd[order],
        areas=areas[order],
    )


def _fault(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with an annotation's own fields; numbers that are not finite come later."""
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) for v in box):
        return f"expected bbox [x, y, width, height], got {box!r:.80}"
    if entry.get("iscrowd") not in (None, 0, 1):
        return f"expected iscrowd 0 or 1, got {entry['iscrowd']!r:.80}"
    area = entry.get("area")
    if area is not None and not (_is_number(area) and (area >= 0 or area == -1)):
        return f"expected an area of 0 or more, got {area!r:.80}"
    return None


def _without_empty(table: AnnotationTable, report: AnnotationReport) -> AnnotationTable:
    counts = np.diff(table.offsets)
    report.excluded["empty image"] += int((counts == 0).sum())
    return AnnotationTable.from_records([table.record(i) for i in np.flatnonzero(counts).tolist()])


def _name(entry: Mapping[str, Any]) -> str:
    return f"annotation id {entry['id']}" if "id" in entry else "annotation without id"


def _image_id(value: Any) -> ImageId | None:
    """An image's id as an integer or a string, None where it is neither. 1.0 is 1: pandas writes it so."""
    return value if isinstance(value, str) and is_text(value) else _integer(value)


def _integer(value: Any) -> int | None:
    """An integer that may have been written as 1.0 or "1"; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        return int(value) if value.strip().isdecimal() and len(value) < 19 else None
    if abs(value) >= _LARGEST:  # infinity among them
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000)


def _kind(value: Any) -> str:
    return type(value).__name__
