"""Reading the files of a VOC layout: splits, the images of ids, annotations as they stand."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..structures import ImageId
from .report import AnnotationReport, ProblemKind

_EXTENSIONS = (".jpg", ".jpeg", ".png")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class VOCObject:
    """One <object>: index is its position among the objects; box is (xmin, ymin, xmax, ymax)."""

    index: int
    name: str
    box: tuple[float, ...]
    difficult: bool


@dataclass
class VOCFile:
    """One annotation file as it stands, before classes and sizes are looked at."""

    image_id: ImageId
    image: Path
    annotation: Path
    size: tuple[int, int] | None
    objects: list[VOCObject] = field(default_factory=list)


def read_parts(parts: Sequence[tuple[Path, str]], report: AnnotationReport) -> Iterator[VOCFile]:
    """The images of several (root, split) that have image and annotation, in order.

    An id that two parts share becomes "<part number>:<id>" in the later one; the same file listed
    twice is reported. Raises FileNotFoundError or ValueError for a broken layout or split.
    """
    used_ids: set[str] = set()
    used_files: set[tuple[Path, str]] = set()
    for number, (root, split) in enumerate(parts):
        split_file, images = _open_layout(root, split)
        for name in _read_split(split_file):
            if (root.resolve(), name) in used_files:
                detail = f"image {name} is listed twice"
                report.add(ProblemKind.DUPLICATE_IMAGE, split_file, None, detail)
                continue
            used_files.add((root.resolve(), name))
            image_id = name if name not in used_ids else f"{number}:{name}"
            used_ids.add(image_id)
            image = images.get(name)
            if image is None:
                detail = "no such image, nor as .jpeg or .png"
                path = root / "JPEGImages" / f"{name}.jpg"
                report.add(ProblemKind.MISSING_IMAGE, path, None, detail)
                continue
            parsed = _parse_file(root / "Annotations" / f"{name}.xml", image_id, image, report)
            if parsed is not None:
                yield parsed


def _open_layout(root: Path, split: str) -> tuple[Path, dict[str, Path]]:
    """The file of a split, and the image of every id that has one."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        if not (root / folder).is_dir():
            raise FileNotFoundError(
                f"root: expected folders JPEGImages, Annotations and ImageSets/Main in {root}, no {folder} there"
            )
    split_file = root / "ImageSets" / "Main" / f"{split}.txt"
    if not split_file.is_file():
        known = sorted(path.stem for path in split_file.parent.glob("*.txt"))
        raise FileNotFoundError(f"split: no {split!r} in {split_file.parent}, it has {known}")
    images: dict[str, Path] = {}
    for path in (root / "JPEGImages").iterdir():
        if path.suffix.lower() not in _EXTENSIONS:
            continue
        rival = images.get(path.stem)
        if rival is None or _preference(path) < _preference(rival):
            images[path.stem] = path
    return split_file, images


def _preference(path: Path) -> tuple[int, str]:
    """Of two images with one id, the one with the lower value is taken."""
    return _EXTENSIONS.index(path.suffix.lower()), path.suffix


def _read_split(split_file: Path) -> list[str]:
    names = []
    for number, line in enumerate(split_file.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) > 1:
            raise ValueError(f"{split_file}, line {number}: expected one image id, got {line.strip()!r}")
        names += words
    if not names:
        raise ValueError(f"split: {split_file} lists no images")
    return names


def _parse_file(path: Path, image_id: ImageId, image: Path, report: AnnotationReport) -> VOCFile | None:
    try:
        tree = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        report.add(ProblemKind.MISSING_ANNOTATION, path, None, f"no such file, {image.name} exists")
        return None
    except (ElementTree.ParseError, UnicodeDecodeError, OSError) as error:
        detail = f"cannot be parsed as XML: {error}"
        report.add(ProblemKind.INVALID_ANNOTATION, path, None, detail)
        return None
    parsed = VOCFile(image_id, image, path, _parse_size(tree))
    for index, element in enumerate(tree.findall("object")):
        try:
            parsed.objects.append(_parse_object(index, element))
        except ValueError as error:
            report.add(ProblemKind.INVALID_OBJECT, path, index, str(error))
    return parsed


def _parse_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width = int(tree.findtext("size/width", ""))
        height = int(tree.findtext("size/height", ""))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _parse_object(index: int, element: ElementTree.Element) -> VOCObject:
    """Raises ValueError that says what is missing or no number."""
    name = element.findtext("name", "").strip()
    if not name:
        raise ValueError("has no <name>")
    box = []
    for corner in _CORNERS:
        text = element.findtext(f"bndbox/{corner}")
        if text is None:
            raise ValueError(f"has no <bndbox> with <{corner}>")
        try:
            box.append(float(text))
        except ValueError:
            raise ValueError(f"<{corner}> is {text.strip()!r}, not a number") from None
    difficult = element.findtext("difficult", "0").strip()
    if difficult not in ("0", "1"):
        raise ValueError(f"<difficult> is {difficult!r}, not 0 or 1")
    return VOCObject(index, name, tuple(box), difficult == "1")
