"""Checks that data sets of every format share: options, class names, an image against its size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..checks import check_class_names
from .image_io import ImageReadError, read_stored_size
from .report import AnnotationReport, ProblemKind

__all__ = ["CheckImages", "OnError", "Orientation", "check_class_names", "check_options", "settle_size"]

OnError = Literal["skip", "raise"]
CheckImages = Literal["header", "exists"]
Orientation = Literal["auto", "stored"]


def check_options(on_error: str, check_images: str, orientation: str = "auto") -> None:
    """Raises ValueError for an unknown value of these options of the data sets."""
    if on_error not in ("skip", "raise"):
        raise ValueError(f"on_error: expected 'skip' or 'raise', got {on_error!r}")
    if check_images not in ("header", "exists"):
        raise ValueError(f"check_images: expected 'header' or 'exists', got {check_images!r}")
    if orientation not in ("auto", "stored"):
        raise ValueError(f"orientation: expected 'auto' or 'stored', got {orientation!r}")


def settle_size(
    path: Path,
    annotated: tuple[int, int] | None,
    annotation_file: str | Path,
    report: AnnotationReport,
    *,
    check_images: CheckImages,
    trust_picture_size: bool,
    orientation: Orientation = "auto",
    needs_size: bool = True,
) -> tuple[int, int] | None:
    """The (width, height) of an image, after comparing its file with its annotation.

    annotated: what the annotation says; None: nothing usable, which is no problem unless needs_size.
    orientation: "auto" takes the size that the annotation has, stored or as the EXIF tag turns it (the latter where
    the annotation does not tell); "stored" the stored one.
    Problems go into the report. Returns None where the image is of no use.
    """
    if check_images == "exists" and annotated is not None:
        if path.is_file():
            return annotated
        report.add(ProblemKind.MISSING_IMAGE, path, None, "no such image")
        return None
    try:
        stored = read_stored_size(path)
    except FileNotFoundError:
        report.add(ProblemKind.MISSING_IMAGE, path, None, "no such image")
        return None
    except (ImageReadError, OSError) as error:
        detail = str(error).removeprefix(f"{path}: ")
        report.add(ProblemKind.UNREADABLE_IMAGE, path, None, detail)
        return None
    actual = stored.size if orientation == "stored" else stored.turned
    if annotated is None and not needs_size:
        return actual
    if annotated is None:
        detail = f"no usable width and height, the image has {actual[0]} x {actual[1]} pixels"
        report.add(ProblemKind.MISSING_SIZE, annotation_file, None, detail)
        return actual
    if annotated == actual or (annotated == stored.size and orientation == "auto"):
        return annotated
    detail = f"annotated as {annotated[0]} x {annotated[1]} pixels, {path.name} has {actual[0]} x {actual[1]}"
    if stored.orientation >= 5:
        other = stored.turned if orientation == "stored" else stored.size
        how = (
            "as its EXIF orientation turns it" if orientation == "stored" else "as stored, without its EXIF orientation"
        )
        detail += f" ({other[0]} x {other[1]} {how})"
    consequence = "size taken from the image" if trust_picture_size else None
    report.add(ProblemKind.SIZE_MISMATCH, annotation_file, None, detail, consequence)
    return actual if trust_picture_size else None
