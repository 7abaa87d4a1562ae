"""Files of images, by which parts of a data set are compared."""

from __future__ import annotations

import os
from collections.abc import Iterable


def resolved(paths: Iterable[str | os.PathLike[str]]) -> set[str]:
    """The files that paths stand for, links in their folders followed, by which the same file is found under another
    name; none needs to exist."""
    folders: dict[str, str] = {}
    found = set()
    for path in paths:
        folder, name = os.path.split(os.path.abspath(path))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        found.add(os.path.join(folders[folder], name))
    return found
