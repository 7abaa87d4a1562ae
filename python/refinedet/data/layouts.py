"""Finding out how a folder of data is laid out: its format, and where its parts lie."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from .coco import read_json
from .image_files import name_fault, walk
from .parts import of_part, part_names
from .yolo import YOLOSource
from .yolo_yaml import NAMES

Format = Literal["voc", "coco", "yolo", "csv"]
FORMATS = ("voc", "coco", "yolo", "csv")


def is_voc_layout(root: Path) -> bool:
    """Whether a folder has VOC's lists of images."""
    return (root / "ImageSets" / "Main").is_dir()


def detect_format(root: Path) -> Format:
    """The format of the data in a folder: the first of VOC's layout, YOLO's data.yaml, COCO's JSON, VOC's XML files
    anywhere, a CSV table, and YOLO's label files without data.yaml. Raises FileNotFoundError; ValueError."""
    if not root.is_dir():
        if root.is_file() and root.suffix.lower() in (".yaml", ".yml"):
            return "yolo"
        raise FileNotFoundError(f"root: no such folder: {root}")
    if is_voc_layout(root):
        return "voc"
    if any((root / name).is_file() for name in NAMES):
        return "yolo"
    files = list(walk(root))
    suffixes = {path.suffix.lower() for path in files}
    if any(_looks_like_coco(path) for path in files if path.suffix.lower() == ".json"):
        return "coco"
    if ".xml" in suffixes:
        return "voc"
    if ".csv" in suffixes:
        return "csv"
    if ".txt" in suffixes and any("labels" in path.relative_to(root).parts[:-1] for path in files):
        return "yolo"
    known = ", ".join(sorted(suffixes)[:8]) or "nothing"
    raise ValueError(
        f"root: expected a data set in {root}: ImageSets/Main or XML files (voc), a COCO JSON file, data.yaml or "
        f"labels/ (yolo) or a CSV table, got files with the endings {known}"
    )


def find_part(format: Format, root: Path, part: str) -> dict[str, Any] | None:
    """Where a part of a data set lies that nobody named: arguments as in `SplitConfig`, {} for the whole folder as the
    training part of a data set without parts, None where there is no such part. ValueError where several could be."""
    found = find_parts(format, root, part)
    if len(found) > 1:  # of annotation files alone
        names = ", ".join(arguments["annotation_file"] for arguments in found[:5])
        raise ValueError(f"data.{part}.annotation_file: expected one, as {root} has several of that part: {names}")
    return found[0] if found else None


def find_parts(format: Format, root: Path, part: str) -> list[dict[str, Any]]:
    """All that could be what `find_part` looks for."""
    if format == "coco":
        return _file_parts(root, part, lambda path: path.suffix.lower() == ".json" and _looks_like_coco(path))
    if format == "csv":
        return _file_parts(root, part, lambda path: path.suffix.lower() == ".csv")
    if format == "yolo":
        return _named_parts(part, YOLOSource(root).has)
    if is_voc_layout(root):
        lists = root / "ImageSets" / "Main"
        # A list that also holds the others' images is taken for training alone.
        names = (*part_names(part), "trainval") if part == "train" else part_names(part)
        if part == "val" and not any((lists / f"{name}.txt").is_file() for name in part_names("train")):
            return []
        return [{"split": name} for name in names if (lists / f"{name}.txt").is_file()][:1]
    paths = [path.relative_to(root) for path in walk(root) if path.suffix.lower() == ".xml"]
    return _named_parts(part, lambda name: any(of_part(path, name) for path in paths))


def _named_parts(part: str, has: Callable[[str], bool]) -> list[dict[str, Any]]:
    if has(part):
        return [{"split": part}]
    return [{}] if part == "train" and not has("val") and not has("test") else []


def _file_parts(root: Path, part: str, wanted: Callable[[Path], bool]) -> list[dict[str, Any]]:
    """The annotation files whose folder or name has that of the part."""
    files = [path for path in walk(root) if wanted(path)]

    def of(name: str) -> list[Path]:
        found = []
        for path in files:
            words = re.split(r"[^a-z0-9]+", path.stem.lower())
            if of_part(path.relative_to(root), name) or any(word in part_names(name) for word in words):
                found.append(path)
        return found

    found = of(part)
    if not found and part == "train" and not of("val") and not of("test"):
        found = files
    instances = [path for path in found if path.name.startswith("instances")]  # beside COCO's captions and keypoints
    found = instances if len(instances) == 1 else found
    return [{"annotation_file": path.relative_to(root).as_posix()} for path in found]


def find_image_dir(root: Path, annotation_file: Path, file_names: list[str], part: str) -> Path:
    """The folder that the images of an annotation file are relative to: its own, or one that has the usual name.
    ValueError where none has the first of them."""
    beside = annotation_file.parent
    places = [beside, beside / "images", root, root / "images"]
    for name in part_names(part):
        places += [root / name, root / "images" / name, root / name / "images", root / f"{name}2017"]
    names = [name.replace("\\", "/") for name in file_names[:20]]
    for place in places:
        if any((place / name).is_file() for name in names):
            return place
    tried = ", ".join(dict.fromkeys(map(str, places[:4])))
    raise ValueError(f"image_dir: expected it for {annotation_file}, as {names[:1]} is in none of {tried}")


def coco_file_names(annotation_file: Path) -> list[str]:
    """The file names of the images in a COCO file; what is wrong with them is left to COCODetection."""
    content = read_json(annotation_file)
    entries = content.get("images") if isinstance(content, dict) else None
    entries = entries if isinstance(entries, list) else []
    names = [entry.get("file_name") for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and name and name_fault(name) is None]


def _looks_like_coco(path: Path) -> bool:
    """Whether a JSON file has COCO's keys, wherever they stand in it."""
    if "coco" in path.name.lower() or path.name.startswith("instances"):
        return True
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.replace(b"\0", b"")
    return all(key in data for key in (b'"images"', b'"annotations"', b'"categories"'))
