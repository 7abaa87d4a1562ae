"""Data sets of YOLO: a text file of fractions for every image, class names in data.yaml."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from .checks import Orientation
from .file_dataset import FileDetection
from .image_files import expand_home, is_image_name, walk
from .image_io import ImageReadError, read_stored_size
from .parts import of_part, part_names
from .report import AnnotationReport, ProblemKind
from .text import read_text
from .voc_files import VOCFile, VOCObject

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
        found = _yaml_file(root)
        if found is not None:
            self.where = found
            self.settings = _read_yaml(found)
        self.names = _names(self.settings.get("names"), self.settings.get("nc"), self.where) or _name_list(self.folder)

    def has(self, part: str) -> bool:
        """Whether the data set has a part of this name."""
        if any(self.settings.get(name) for name in part_names(part)):
            return True
        return not self._keyed and any(of_part(path, part) for path in self._all_images())

    @property
    def _keyed(self) -> bool:
        return any(self.settings.get(name) for part in ("train", "val", "test") for name in part_names(part))

    def images(self, part: str | None) -> tuple[list[Path], list[Path]]:
        """The images of a part, and those that a list names but that do not exist."""
        if part is None or not self._keyed:
            every = [self.folder / path for path in self._all_images() if part is None or of_part(path, part)]
            if not every:
                where = f"a folder {part!r} of {self.folder}" if part else str(self.folder)
                raise FileNotFoundError(f"root: expected images in {where}, there are none")
            return every, []
        entries = next((self.settings[name] for name in part_names(part) if self.settings.get(name)), None)
        if entries is None:
            raise ValueError(f"{self.where}: expected a key {part!r}, it has {sorted(map(str, self.settings))}")
        found: list[Path] = []
        missing: list[Path] = []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str):
                raise ValueError(f"{self.where}: {part}: expected paths, got {entry!r:.80}")
            place = self._resolve(entry)
            if place.is_dir():
                found += [path for path in walk(place) if is_image_name(path)]
            elif place.suffix.lower() == ".txt":
                for line in read_text(place).splitlines():
                    if line.strip():
                        path = _listed(line, place.parent, self.folder)
                        (found if path.is_file() else missing).append(path)
            else:
                found.append(place)
        if not found:
            raise FileNotFoundError(f"{self.where}: {part}: expected images in {entries!r}, there are none")
        return found, missing

    def read(
        self, part: str | None, names: Sequence[str], report: AnnotationReport, orientation: Orientation
    ) -> list[VOCFile]:
        images, missing = self.images(part)
        for path in missing:
            report.add(ProblemKind.MISSING_IMAGE, path, None, "no such image")
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
        base = expand_home(str(self.settings.get("path") or ".").replace("\\", "/"))
        places = [self.folder / base / entry, self.folder / entry, self.folder / entry.removeprefix("../")]
        for place in places:
            if place.exists():
                # No symbolic link is followed: labels lie beside images by the names of the folders.
                return Path(*_without_dots(place))
        raise FileNotFoundError(
            f"{self.where}: expected {entry!r} in {self.folder / base} or {self.folder}, it has none"
        )


def _without_dots(path: Path) -> list[str]:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        else:
            parts.append(part)
    return parts


def _yaml_file(root: Path) -> Path | None:
    if not root.is_dir():
        if root.suffix.lower() not in (".yaml", ".yml"):
            raise FileNotFoundError(f"root: expected a folder or a YAML file, got {root}")
        return root
    for name in ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml"):
        if (root / name).is_file():
            return root / name
    found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return found[0] if len(found) == 1 else None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"root: no such file: {path}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys such as train and names, got {type(content).__name__}")
    return content


def _names(names: Any, count: Any, where: Path) -> list[str] | None:
    if names is None:
        return [str(number) for number in range(count)] if isinstance(count, int) else None
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{where}: names: expected the numbers 0, 1, ... as keys, got {list(names)!r:.80}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{where}: names: expected a list of names, got {names!r:.80}")
    return [str(name).strip() for name in names]  # YAML reads a class called 7 or no as something else


def _name_list(folder: Path) -> list[str] | None:
    for name in ("classes.txt", "labels/classes.txt", "obj.names", "data/obj.names"):
        if (folder / name).is_file():
            lines = [line.strip() for line in read_text(folder / name).splitlines()]
            return [line for line in lines if line] or None
    return None


def _listed(line: str, list_folder: Path, root: Path) -> Path:
    """The image of a line in a list: relative to the list's folder or the data set's."""
    path = expand_home(line.strip().replace("\\", "/"))
    places = [list_folder / path, root / path]
    return Path(*_without_dots(next((place for place in places if place.is_file()), places[0])))


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
