"""Paths of images, and finding them in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# What OpenCV reads; of two images with one name the one that stands first here is taken.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".jpe", ".jp2", ".dib", ".gif", ".avif"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".pxm", ".pam", ".pfm", ".sr", ".ras", ".hdr", ".pic", ".exr"),
)


def expand_home(path: str | Path) -> Path:
    """The path with the home folder for a leading `~/`. A file's own name may begin with the sign, too."""
    text = os.fspath(path)
    return Path(text).expanduser() if text == "~" or text.startswith("~/") else Path(text)


def inside(name: str, *folders: Path) -> Path:
    """The path of a file that an annotation names, relative to the first folder.

    ValueError with the reason for a name that leads out of all of the folders, up by `..` or as an absolute path, or
    that no file can have. Symbolic links are not looked at: a data set's own may lead anywhere.
    """
    fault = name_fault(name)
    if fault is not None:
        raise ValueError(fault)
    path = folders[0] / expand_home(name)
    place = os.path.abspath(path)
    for folder in map(os.path.abspath, folders):
        if place.startswith(os.path.join(folder, "")):
            return path
    raise ValueError(f"the file name {name!r:.100} leads out of {folders[0]}")


def name_fault(name: str) -> str | None:
    """Why no file can have this name, for which the system would raise errors of many kinds; None where one can."""
    if "\0" in name:
        return f"the file name {name!r:.100} has a NUL in it"
    try:
        encoded = os.fsencode(name)
    except UnicodeEncodeError:
        return f"the file name {name!r:.100} has half a character in it"
    if len(encoded) > 2000 or any(len(part) > 255 for part in encoded.split(b"/")):
        return f"the file name {name!r:.100} is too long"
    return None


def is_image_name(path: str | Path) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def preference(path: Path) -> tuple[int, str]:
    """Of two images with one name, the one with the lower value is taken."""
    return IMAGE_SUFFIXES.index(path.suffix.lower()), path.suffix


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted; hidden ones (such as macOS's `._name`) and hidden folders are passed over."""
    seen: set[str] = set()  # a link to a folder above would lead round and round
    for base, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(base))
        visible = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in visible if os.path.realpath(os.path.join(base, name)) not in seen]
        yield from (Path(base, name) for name in sorted(names) if not name.startswith("."))


def by_stem(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """The images among some files by their path in the folder without suffix, with forward slashes."""
    found: dict[str, Path] = {}
    for path in paths:
        if not is_image_name(path):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in found or preference(path) < preference(found[name]):
            found[name] = path
    return found
