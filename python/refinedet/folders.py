"""Where results go, looked at before anything is computed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path


def numbered(usual: str | Path) -> Iterator[Path]:
    """`usual`, usual-2, usual-3 and so on."""
    yield Path(usual)
    for number in itertools.count(2):
        yield Path(f"{usual}-{number}")


def free_folder(usual: str | Path) -> Path:
    """The first of the numbered folders with nothing in it."""
    return next(
        folder for folder in numbered(usual) if not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    )


def check_folder(path: str | os.PathLike[str], name: str = "output") -> Path:
    """The path of a folder that is there, or can be made; OSError that says why not. Makes nothing."""
    folder = Path(path).expanduser()
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
    if not nearest.is_dir():
        raise NotADirectoryError(f"{name}: expected a folder, {nearest} is none")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: {nearest} is not writable, so that {folder} cannot be written")
    return folder


def check_file(path: str | os.PathLike[str], name: str = "output") -> Path:
    """The path of a file that can be written, an older one replaced; OSError that says why not. Writes nothing."""
    file = Path(path).expanduser()
    if file.is_dir():
        raise IsADirectoryError(f"{name}: expected a file, {file} is a folder")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {file.parent} to write {file.name} into")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{name}: {file.parent} is not writable, so that {file} cannot be written")
    return file


def make_folder(path: str | os.PathLike[str], name: str = "output") -> Path:
    """The folder, made if need be; OSError with its name if it cannot be made."""
    folder = check_folder(path, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a full disk, a file system that only looks writable
        raise OSError(f"{name}: {folder} cannot be made: {error.strerror}") from error
    return folder
