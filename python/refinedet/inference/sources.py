"""What is named on a command line, or in a call, to the files that it stands for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from ..data.image_files import expand_home, is_image_name
from .download import check_url, is_url
from .video import is_video_name

Source = str | int
"""The path of an image or a video, the address of an image, or the number of a camera."""


def expand(source: str | os.PathLike[str] | int) -> list[Source]:
    """The files that one name stands for: itself, those in a folder, those that a pattern matches.

    A folder stands for its own images and videos, not for those in its subfolders; `folder/**` for both, by the usual
    rules of patterns. Hidden files, and folders with a name like an image's, are passed over. An address and a camera
    stand for themselves.

    FileNotFoundError if there is nothing of that name; ValueError for a folder or pattern without images, and for an
    address that is no image's.
    """
    if isinstance(source, int):
        return [source]
    if isinstance(source, str) and is_url(source):
        check_url(source)
        if is_video_name(source.partition("?")[0]):
            raise ValueError(f"images: videos are read from files alone, download {source} first")
        return [source]
    path = expand_home(os.fspath(source))
    if path.is_dir():
        return _inside(path)
    if path.exists():
        return [str(path)]
    if not glob.has_magic(str(path)):
        raise FileNotFoundError(f"images: no file or folder {path}")
    matches = [match for match in sorted(glob.iglob(str(path), recursive=True)) if os.path.isfile(match)]
    if not matches:
        raise FileNotFoundError(f"images: no file matches {path}")
    found: list[Source] = [str(Path(match)) for match in matches if _is_source(match)]
    if not found:
        raise ValueError(f"images: no image or video among the {len(matches)} files that match {path}")
    return found


def stands_for_several(source: str | os.PathLike[str]) -> bool:
    """Whether this is a folder, a pattern or a video, and not one image."""
    if isinstance(source, str) and is_url(source):
        return False
    path = expand_home(os.fspath(source))
    return path.is_dir() or is_video_name(path) or (glob.has_magic(str(path)) and not path.exists())


def find_sources(named: Iterable[str]) -> list[Source]:
    """All files that a command line names, each once, in its order. A number is a camera, unless a file has that name.

    Errors as `expand`.
    """
    found: dict[Source, None] = {}
    for name in named:
        camera = name.isdecimal() and name.isascii() and not os.path.exists(name)
        found.update(dict.fromkeys(expand(int(name) if camera else name)))
    return list(found)


def _inside(folder: Path) -> list[Source]:
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    found: list[Source] = [str(folder / name) for name in sorted(names) if _is_source(name)]
    if not found:
        raise ValueError(
            f"images: no image or video in the folder {folder} itself; {folder / '**'} also takes its subfolders'"
        )
    return found


def _is_source(path: str) -> bool:
    return is_image_name(path) or is_video_name(path)
