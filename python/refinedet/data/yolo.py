"""Data sets of YOLO: a text file of fractions for every image, class names in data.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from .checks import Orientation
from .file_dataset import FileDetection
from .image_files import expand_home, inside, is_image_name, name_fault, walk
from .image_io import ImageReadError, read_stored_size
from .parts import of_part, part_names
from .report import AnnotationReport, ProblemKind
from .text import read_text
from .voc_files import VOCFile, VOCObject
from .yolo_yaml import class_names, find_yaml, read_yaml, short

# Labels are written with few digits: a box that touches the border may end this much beyond it.
_ROUNDING = 1e-3


class YOLODetection(FileDetection):
    """Images with label files of lines `class x y width height`, or `class x1 y1 x2 y2 ...` for polygons.

    All coordinates are fractions of the image's width and height; a polygon becomes the box around it. The label file
    of images/.../a.jpg is labels/.../a.txt, or a.txt beside the image; an image without one has no objects. The
    image_id of a sample is the image's path without suffix, relative to the data set's folder.
    """

    def __init__(
        self,
        root: str | Path,
        part: str | None = "train",
        *,
        classes: Sequence[str] | Literal["auto"] = "auto",
        orientation: Orientation = "auto",
        **options: Any,
    ) -> None:
        """Reads the label files and the sizes of the images.

        root: the folder with data.yaml, or a YAML file of another name. Without one, names come from classes.txt or
        obj.names, one a line.
        part: a key of data.yaml, whose value is a folder, a list file or several of them; without a YAML file, or where
        it has no such key, images below a folder of that name. None takes all images.
        classes: the names of the classes in order, out of the data set's; "auto": all of them. Where the data set has
        no names, they stand for its class numbers 0, 1, ... .
        orientation: "auto" takes the fractions for those of the image as its EXIF tag turns it, "stored" as it is
            stored.
        options: on_error, check_images, trust_picture_size, cache_images and quiet as for VOCDetection.

        Raises FileNotFoundError; AnnotationError; ValueError.
        """
        source = YOLOSource(expand_home(root))
        report = AnnotationReport(f"YOLO {source.where}" + (f" {part}" if part else ""))
        names = source.names
        if names is None:
            if classes == "auto":
                raise ValueError(
                    f"classes: expected names, as {source.where} has none: write a data.yaml with `names`, or a "
                    "classes.txt with one name a line"
                )
            names = list(classes)
        files = source.read(part, names, report, orientation)
        options["orientation"] = orientation
        super().__init__(files, report, classes=names if classes == "auto" else classes, **options)


class YOLOSource:
    """What data.yaml, or the folder where there is none, says of a data set."""

    def __init__(self, root: Path) -> None:
        self.where = root
        self.folder = root if root.is_dir() else root.parent
        self.settings: dict[str, Any] = {}
        found = find_yaml(root)
        if found is not None:
            self.where = found
            self.settings = read_yaml(found)
        self.names = class_names(self.settings, self.where) or _name_list(self.folder)

    def has(self, part: str) -> bool:
        """Whether the data set has a part of this name."""
        if any(self.settings.get(name) for name in part_names(part)):
            return True
        return not self._keyed and any(of_part(path, part) for path in self._all_images())

    @property
    def _keyed(self) -> bool:
        return any(self.settings.get(name) for part in ("train", "val", "test") for name in part_names(part))

    def images(self, part: str | None, report: AnnotationReport) -> list[Path]:
        """The images of a part. Those that a list names but that do not exist, or are not the data set's, go into the
        report."""
        if part is None or not self._keyed:
            every = [self.folder / path for path in self._all_images() if part is None or of_part(path, part)]
            if not every:
                where = f"a folder {part!r} of {self.folder}" if part else str(self.folder)
                raise FileNotFoundError(f"root: expected images in {where}, there are none")
            return every
        entries = next((self.settings[name] for name in part_names(part) if self.settings.get(name)), None)
        if entries is None:
            raise ValueError(f"{self.where}: expected a key {part!r}, it has {sorted(map(str, self.settings))}")
        found: list[Path] = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                raise ValueError(f"{self.where}: {part}: expected paths, got {short(entry)}")
            place = self._resolve(entry)
            if place.is_dir():
                found += [path for path in walk(place) if is_image_name(path)]
            elif place.suffix.lower() == ".txt":
                found += self._listed(place, report)
            else:
                found.append(place)
        if not found:
            raise FileNotFoundError(f"{self.where}: {part}: expected images in {short(entries)}, there are none")
        return found

    def _listed(self, list_file: Path, report: AnnotationReport) -> list[Path]:
        """The images of the lines of a list: relative to the list's folder or the data set's, or absolute in one of
        these."""
        found = []
        folders = (list_file.parent, self.folder, self._base)
        for number, line in enumerate(read_text(list_file).splitlines(), 1):
            name = line.strip().replace("\\", "/")
            if not name:
                continue
            try:
                places = [inside(name, folder, *folders) for folder in folders[:2]]
            except ValueError as error:
                report.add(ProblemKind.OUTSIDE_FOLDER, list_file, None, f"line {number}: {error}")
                continue
            path = Path(*_without_dots(next((place for place in places if place.is_file()), places[0])))
            if path.is_file():
                found.append(path)
            else:
                report.add(ProblemKind.MISSING_IMAGE, path, None, "no such image")
        return found

    def read(
        self, part: str | None, names: Sequence[str], report: AnnotationReport, orientation: Orientation
    ) -> list[VOCFile]:
        images = self.images(part, report)
        files = []
        seen: set[Path] = set()
        for image in images:
            if image in seen:
                report.add(ProblemKind.DUPLICATE_IMAGE, image, None, "the image is listed twice")
                continue
            seen.add(image)
            parsed = _read_labels(image, self._image_id(image), names, report, orientation)
            if parsed is not None:
                files.append(parsed)
        return files

    def _image_id(self, image: Path) -> str:
        inside = image.is_relative_to(self.folder)
        return (image.relative_to(self.folder) if inside else image).with_suffix("").as_posix()

    def _all_images(self) -> Iterable[Path]:
        return [path.relative_to(self.folder) for path in walk(self.folder) if is_image_name(path)]

    def _resolve(self, entry: str) -> Path:
        """A path of data.yaml. Exports are moved about: `path` may be stale, and some write ../train/images for a
        folder beside the file."""
        entry = entry.replace("\\", "/")
        base = self._base
        fault = name_fault(entry)
        if fault is not None:
            raise ValueError(f"{self.where}: {fault}")
        places = [base / entry, self.folder / entry, self.folder / entry.removeprefix("../")]
        for place in places:
            if place.exists():
                # No symbolic link is followed: labels lie beside images by the names of the folders.
                return Path(*_without_dots(place))
        there = str(base) if base.is_dir() else f"{base} (its path, a folder that does not exist)"
        there += "" if base == self.folder else f" or {self.folder}"
        raise FileNotFoundError(f"{self.where}: expected {entry!r} in {there}, it has none")

    @property
    def _base(self) -> Path:
        """The folder that `path` names; the data set's own without it."""
        given = self.settings.get("path", ".")
        if not isinstance(given, str):
            raise ValueError(f"{self.where}: path: expected a folder, got {short(given)}")
        fault = name_fault(given)
        if fault is not None:
            raise ValueError(f"{self.where}: path: {fault}")
        return self.folder / expand_home(given.replace("\\", "/"))


def _without_dots(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        else:
            parts.append(part)
    return parts


def _name_list(folder: Path) -> list[str] | None:
    for name in ("classes.txt", "labels/classes.txt", "obj.names", "data/obj.names"):
        if (folder / name).is_file():
            lines = [line.strip() for line in read_text(folder / name).splitlines()]
            return [line for line in lines if line] or None
    return None


def label_file(image: Path) -> Path:
    """labels/.../a.txt for images/.../a.jpg where that exists, else a.txt beside the image."""
    parts = list(image.parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position].lower() == "images":
            moved = Path(*parts[:position], "labels", *parts[position + 1 :]).with_suffix(".txt")
            if moved.is_file():
                return moved
    return image.with_suffix(".txt")


def _read_labels(
    image: Path, image_id: str, names: Sequence[str], report: AnnotationReport, orientation: Orientation
) -> VOCFile | None:
    try:
        stored = read_stored_size(image)
    except FileNotFoundError:
        report.add(ProblemKind.MISSING_IMAGE, image, None, "no such image")
        return None
    except (ImageReadError, OSError) as error:
        report.add(ProblemKind.UNREADABLE_IMAGE, image, None, str(error).removeprefix(f"{image}: "))
        return None
    size = stored.size if orientation == "stored" else stored.turned
    path = label_file(image)
    parsed = VOCFile(image_id, image, path, size)
    if not path.is_file():
        report.notes["images have no label file and count as images without objects"] += 1
        return parsed
    try:
        lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
    except (ValueError, OSError) as error:
        report.add(ProblemKind.INVALID_ANNOTATION, path, None, str(error).removeprefix(f"{path}: "))
        return None
    for index, words in enumerate(lines):
        try:
            parsed.objects.append(_parse_line(index, words, names, size))
        except ValueError as error:
            report.add(ProblemKind.INVALID_OBJECT, path, index, str(error))
        except _UnknownClass as error:
            report.add(ProblemKind.UNKNOWN_CLASS, path, index, str(error))
    return parsed


class _UnknownClass(Exception):
    pass


def _parse_line(index: int, words: Sequence[str], names: Sequence[str], size: tuple[int, int]) -> VOCObject:
    try:
        values = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"expected numbers, got {' '.join(words)!r:.80}") from None
    if len(values) == 5:
        x, y, w, h = values[1:]
        box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    elif len(values) >= 7 and len(values) % 2:
        # min and max pass over a nan that does not come first
        finite = all(map(math.isfinite, values[1:]))
        xs, ys = (values[1::2], values[2::2]) if finite else ([math.nan], [math.nan])
        box = [min(xs), min(ys), max(xs), max(ys)]
    else:
        raise ValueError(f"expected a class and a box of 4 numbers or a polygon, got {len(words)} numbers")
    if max(box) > 2 and all(map(math.isfinite, box)):
        raise ValueError(f"coordinates {' '.join(words[1:])!s:.80} are pixels, where fractions of the image belong")
    if not values[0].is_integer() or not 0 <= values[0] < len(names):
        raise _UnknownClass(f"class {words[0]} is not among the {len(names)} classes 0 to {len(names) - 1}")
    snapped = [_snap(value) for value in box]
    scale = (*size, *size)
    return VOCObject(index, names[int(values[0])], tuple(v * s for v, s in zip(snapped, scale, strict=True)), False)


def _snap(value: float) -> float:
    if -_ROUNDING < value < 0:
        return 0.0
    return 1.0 if 1 < value < 1 + _ROUNDING else value
