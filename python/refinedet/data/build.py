"""Making a data set from plain arguments, as configuration files give them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from .checks import CheckImages, OnError, Orientation
from .coco import COCODetection
from .dataset import DetectionDataset
from .image_files import expand_home
from .voc import Coordinates, VOCDetection
from .voc_files import Unannotated


def build_dataset(
    format: Literal["voc", "coco"],
    *,
    root: str | Path | None = None,
    split: str | None = None,
    extra_parts: Sequence[tuple[str | Path, str]] | None = None,
    image_dir: str | Path | None = None,
    annotation_file: str | Path | None = None,
    classes: Sequence[str] | Literal["auto"] | None = None,
    ignore_classes: Sequence[str] | None = None,
    use_difficult: bool | None = None,
    coordinates: Coordinates | None = None,
    unannotated: Unannotated | None = None,
    missing_classes: Literal["refuse", "allow"] | None = None,
    drop_crowd: bool | None = None,
    drop_empty: bool | None = None,
    on_error: OnError = "skip",
    check_images: CheckImages = "header",
    trust_picture_size: bool = False,
    orientation: Orientation = "auto",
    cache_images: bool = False,
    quiet: bool = False,
) -> DetectionDataset:
    """VOCDetection or COCODetection, whichever `format` says, with their arguments.

    "voc" takes root, split, extra_parts, ignore_classes, use_difficult, coordinates and unannotated. "coco"
    takes image_dir, annotation_file, missing_classes, drop_crowd and drop_empty; where root is given too, the two
    paths are relative to it. None leaves an argument at the data set's default; one that the format
    has no use for raises ValueError, as does a missing one. classes "auto" means those in the data:
    the names in the annotations for "voc", the file's categories for "coco". Other formats have classes of their own:
    YOLODetection, CSVDetection, VOCFolderDetection.
    """
    if format not in ("voc", "coco"):
        raise ValueError(f"format: expected 'voc' or 'coco', got {format!r}")
    common: dict[str, Any] = {
        "on_error": on_error,
        "check_images": check_images,
        "trust_picture_size": trust_picture_size,
        "orientation": orientation,
        "cache_images": cache_images,
        "quiet": quiet,
    }
    only_voc: dict[str, Any] = {
        "extra_parts": extra_parts,
        "ignore_classes": ignore_classes,
        "use_difficult": use_difficult,
        "coordinates": coordinates,
        "unannotated": unannotated,
    }
    only_coco: dict[str, Any] = {"missing_classes": missing_classes, "drop_crowd": drop_crowd, "drop_empty": drop_empty}
    if format == "voc":
        _refuse("voc", image_dir=image_dir, annotation_file=annotation_file, **only_coco)
        if root is None or split is None:
            raise ValueError("format 'voc': expected root and split")
        return VOCDetection(root, split, classes=classes, **_given(only_voc), **common)
    _refuse("coco", split=split, **only_voc)
    if image_dir is None or annotation_file is None:
        raise ValueError("format 'coco': expected image_dir and annotation_file")
    base = expand_home(root) if root is not None else Path()
    return COCODetection(
        base / expand_home(image_dir),
        base / expand_home(annotation_file),
        classes=None if classes == "auto" else classes,
        **_given(only_coco),
        **common,
    )


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _refuse(format: str, **arguments: Any) -> None:
    for name, value in _given(arguments).items():
        raise ValueError(f"{name}: format {format!r} has no such argument, got {value!r}")
