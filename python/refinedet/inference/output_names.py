"""Where `refinedet predict` puts what it makes of each source, so that nothing is written over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import cv2

from .download import is_url
from .sources import Source
from .video import camera_name, is_video_name

# Formats of 8-bit colour that are kept; the others that are read (gif, hdr, jp2, ...) are drawn as PNG.
KEPT_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".avif")
VIDEO_SUFFIX = ".mp4"
LABELS = "labels"
LONGEST_STEM = 100  # of names that a server made up


def source_key(source: Source) -> str:
    """The `path` of its predictions."""
    return camera_name(source) if isinstance(source, int) else source


def output_names(sources: Iterable[Source]) -> dict[str, str]:
    """For each source a file name; its own where it can be, and no two alike without their suffixes.

    Images of one name, whatever their folders and formats, get numbers: photo.jpg, photo_2.png.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    last: dict[str, int] = {}  # the number that a stem had last, so that many of one name take no longer than others
    for source in sources:
        own = _own_name(source)
        suffix = own.suffix.lower()
        if isinstance(source, int) or (is_video_name(own.name) and not is_url(source)):
            ending = VIDEO_SUFFIX
        else:
            ending = own.suffix if suffix in KEPT_SUFFIXES and cv2.haveImageWriter(f"x{suffix}") else ".png"
        stem, number = own.stem, last.get(own.stem, 1)
        while stem in taken:
            number += 1
            stem = f"{own.stem}_{number}"
        last[own.stem] = number
        taken.add(stem)
        names[source_key(source)] = f"{stem}{ending}"
    return names


def check_outputs(folder: Path, files: Sequence[str], sources: Iterable[Source], *, overwrite: bool) -> None:
    """ValueError where results would replace something: a source in any case, other files unless overwrite.

    files: what will be written into the folder, by names in it with forward slashes; a name that ends in one is a
        folder that must be empty.
    """
    existing: dict[str, set[str]] = {}
    clashes = []
    for name in files:
        place, _, last = name.rpartition("/")
        if place not in existing:
            inside = folder / place
            if inside.exists() and not inside.is_dir():
                raise ValueError(f"output: expected a folder, got the file {inside}")
            existing[place] = set(os.listdir(inside)) if inside.is_dir() else set()
        if last in existing[place] if last else existing[place]:
            clashes.append(name)
    if not clashes:
        return
    own = {(status.st_dev, status.st_ino) for status in map(_status, sources) if status is not None}
    for name in clashes:
        path = folder / name
        status = _status(str(path))
        if status is not None and (status.st_dev, status.st_ino) in own:
            raise ValueError(f"output: expected another folder than the images', {path} is one of them")
    if not overwrite:
        more = f" and {len(clashes) - 1} more files" if len(clashes) > 1 else ""
        raise ValueError(
            f"output: {folder / clashes[0]}{more} would be replaced; give another --output, or --overwrite true"
        )
    for name in clashes:
        if not name.endswith("/") and (folder / name).is_dir():
            raise ValueError(f"output: expected no folder where a file is to be written, got {folder / name}")


def _own_name(source: Source) -> PurePosixPath:
    """The name of a source, as one that a file can have."""
    if isinstance(source, int):
        return PurePosixPath(camera_name(source).replace(" ", "_"))
    if not is_url(source):
        return PurePosixPath(Path(source).name)
    name = re.sub(r"[\x00-\x1f\x7f/\\:*?\"<>|]", "_", unquote(urlsplit(source).path.rpartition("/")[2])).lstrip(".")
    path = PurePosixPath(name or "image")
    suffix = path.suffix if len(path.suffix) <= 5 else ""
    return PurePosixPath(path.stem[:LONGEST_STEM] + suffix)


def _status(source: Source) -> os.stat_result | None:
    try:
        return None if isinstance(source, int) or is_url(source) else os.stat(source)
    except FileNotFoundError:
        return None
