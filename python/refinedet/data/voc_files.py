"""Reading the files of a VOC layout: splits, the images of ids, annotations as they stand."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..structures import ImageId
from .image_files import by_stem, is_image_name, walk
from .report import AnnotationReport, ProblemKind
from .text import read_text

Unannotated = Literal["skip", "auto", "keep"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*?\?>""")
_ENTITY = re.compile(rb"<\0?!\0?E\0?N\0?T\0?I\0?T\0?Y")  # also in two bytes a character
# What tools write for `difficult` beside 0 and 1.
_DIFFICULT = {"0": False, "1": True, "false": False, "true": True, "no": False, "yes": True}
_DIFFICULT |= dict.fromkeys(("", "unspecified", "unknown", "none", "null", "nan"), False)


@dataclass
class VOCObject:
    """One <object>: index is its position among the objects; box is (xmin, ymin, xmax, ymax)."""

    index: int
    name: str
    box: tuple[float, ...]
    difficult: bool


@dataclass
class VOCFile:
    """One annotation file as it stands, before classes and sizes are looked at.

    size: (width, height), None where there is none of use. needs_size: whether that is worth a line in the report, as
    it is in formats that have a place for it. annotated: whether the annotations were looked at.
    """

    image_id: ImageId
    image: Path
    annotation: Path
    size: tuple[int, int] | None
    objects: list[VOCObject] = field(default_factory=list)
    needs_size: bool = True
    annotated: bool = True


def read_parts(
    parts: Sequence[tuple[Path, str]], report: AnnotationReport, unannotated: Unannotated = "skip"
) -> list[VOCFile]:
    """The images of several (root, split) that have image and annotation, in order; or all that have an image, without
    a look at any annotation, where `unannotated` says so, see `VOCDetection`.

    An id that two parts share becomes "<part number>:<id>" in the later one; the same file listed
    twice is reported. Raises FileNotFoundError or ValueError for a broken layout or split.
    """
    files = list(_list_parts(parts, report, needs_annotations=unannotated == "skip"))
    has = [unannotated == "skip" or file.annotation.is_file() for file in files]
    if has and not (any(has) if unannotated == "auto" else all(has)):
        return files
    parsed = [parse_file(file.annotation, file.image_id, file.image, report) for file in files]
    return [file for file in parsed if file is not None]


def listed_images(root: Path, split: str) -> list[Path]:
    """The images of a split that are there; none where the layout or the list is not."""
    if not (root / "JPEGImages").is_dir() or not _split_file(root, split).is_file():
        return []
    split_file, images = _open_layout(root, split, needs_annotations=False)
    return [images[name] for name in _read_split(split_file, images) if name in images]


def _list_parts(
    parts: Sequence[tuple[Path, str]], report: AnnotationReport, *, needs_annotations: bool
) -> Iterator[VOCFile]:
    """The images that are listed and there, as files without annotations."""
    used_ids: set[str] = set()
    used_files: set[tuple[Path, str]] = set()
    for number, (root, split) in enumerate(parts):
        split_file, images = _open_layout(root, split, needs_annotations)
        for name in _read_split(split_file, images):
            if (root.resolve(), name) in used_files:
                detail = f"image {name} is listed twice"
                report.add(ProblemKind.DUPLICATE_IMAGE, split_file, None, detail)
                continue
            used_files.add((root.resolve(), name))
            image_id = name if name not in used_ids else f"{number}:{name}"
            used_ids.add(image_id)
            image = images.get(name)
            if image is None:
                detail = "no such image, nor with another ending"
                path = root / "JPEGImages" / f"{name}.jpg"
                report.add(ProblemKind.MISSING_IMAGE, path, None, detail)
                continue
            annotation = root / "Annotations" / f"{name}.xml"
            yield VOCFile(image_id, image, annotation, None, needs_size=False, annotated=False)


def _split_file(root: Path, split: str) -> Path:
    return root / "ImageSets" / "Main" / f"{split}.txt"


def _open_layout(root: Path, split: str, needs_annotations: bool) -> tuple[Path, dict[str, Path]]:
    """The file of a split, and the image of every id that has one."""
    folders = ["JPEGImages", *(["Annotations"] if needs_annotations else []), "ImageSets/Main"]
    for folder in folders:
        if not (root / folder).is_dir():
            expected = f"{', '.join(folders[:-1])} and {folders[-1]}"
            raise FileNotFoundError(f"root: expected folders {expected} in {root}, no {folder} there")
    split_file = _split_file(root, split)
    if not split_file.is_file():
        known = sorted(path.stem for path in split_file.parent.glob("*.txt"))
        raise FileNotFoundError(f"split: no {split!r} in {split_file.parent}, it has {known}")
    image_dir = root / "JPEGImages"
    return split_file, by_stem(walk(image_dir), image_dir)


def _read_split(split_file: Path, images: Mapping[str, Path]) -> list[str]:
    names = [_image_name(line.strip(), images) for line in read_text(split_file).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"split: {split_file} lists no images")
    return names


def _image_name(line: str, images: Mapping[str, Path]) -> str:
    """The id that a line of a list means: perhaps with spaces, folders of Windows, the image's ending, or the flag
    (-1, 0 or 1) that the lists of single classes have after it."""
    for words in (line, re.sub(r"\s+(-1|0|1)$", "", line)):
        path = words.replace("\\", "/").removeprefix("./").removeprefix("JPEGImages/")
        stem = path.rpartition(".")[0] if is_image_name(path) else path  # the last one goes into the report
        for name in (path, stem):
            if name in images:
                return name
    return stem


def parse_file(path: Path, image_id: ImageId, image: Path, report: AnnotationReport) -> VOCFile | None:
    """One XML file; None where it cannot be read, which the report then says."""
    try:
        tree = _parse_xml(path.read_bytes())
    except FileNotFoundError:
        report.add(ProblemKind.MISSING_ANNOTATION, path, None, f"no such file, {image.name} exists")
        return None
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
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


def _parse_xml(data: bytes) -> ElementTree.Element:
    """The root of an XML document in whatever encoding it declares; the parser itself knows none of several bytes a
    character but Unicode's. Raises ParseError, ValueError or LookupError."""
    if _ENTITY.search(data):  # entities within entities could fill the memory, and no tool writes any
        raise ValueError("it declares entities")
    declared = _DECLARED.match(data)
    if declared is None:
        return ElementTree.fromstring(data.lstrip())
    name = codecs.lookup(declared[1].decode()).name
    if name.startswith("utf-16"):  # read as single bytes up to here, so that it is not true
        name = "utf-8"
    return ElementTree.fromstring(data[declared.end() :].decode(name))


def _parse_size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        given = [float(tree.findtext(f"size/{side}", "")) for side in ("width", "height")]
    except ValueError:
        return None
    if not all(side.is_integer() for side in given):
        return None
    width, height = map(int, given)
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
    return VOCObject(index, name, tuple(box), _is_difficult(difficult))


def _is_difficult(text: str) -> bool:
    known = _DIFFICULT.get(text.lower())
    if known is not None:
        return known
    try:
        return float(text) > 0  # grades of difficulty, as some tools write them
    except ValueError:
        raise ValueError(f"<difficult> is {text!r}, not 0 or 1") from None
