"""The parts of a data set by the names that people give their folders."""

from __future__ import annotations

from pathlib import PurePath

PARTS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training", "train2017"),
    "val": ("val", "valid", "validation", "val2017"),
    "test": ("test", "testing", "test2017"),
}


def part_names(part: str) -> tuple[str, ...]:
    """What a folder of this part may be called, in lower case."""
    return PARTS.get(part, (part.lower(),))


def of_part(path: PurePath, part: str) -> bool:
    """Whether a file's path goes through a folder of this part."""
    names = part_names(part)
    return any(folder.lower() in names for folder in path.parts[:-1])
