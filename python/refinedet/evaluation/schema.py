"""What a COCO result entry and its fields must look like; messages name the entry and the field."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

ImageId = int | str


class ResultsError(ValueError):
    """A detection result or a ground-truth entry is malformed; the message names the entry."""


def check_results(
    results: Any,
    *,
    source: str = "results",
    image_ids: Iterable[ImageId] | None = None,
    category_ids: Iterable[int] | None = None,
) -> None:
    """Raises ResultsError for the first entry that is not a COCO result; further keys are allowed.

    source: what the message calls the list, say a file name. image_ids, category_ids: where given,
    the only ones that may occur.
    """
    if not isinstance(results, Sequence) or isinstance(results, str | bytes):
        raise ResultsError(f"{source}: expected a list of results, got {_kind(results)}")
    known_images = None if image_ids is None else set(image_ids)
    known_categories = None if category_ids is None else set(category_ids)
    for i, entry in enumerate(results):
        where = f"{source}: entry {i}"
        if not isinstance(entry, Mapping):
            raise ResultsError(f"{where}: expected an object, got {_kind(entry)}")
        missing = [k for k in ("image_id", "category_id", "bbox", "score") if k not in entry]
        if missing:
            raise ResultsError(f"{where}: {', '.join(missing)} missing, has {shown(sorted(entry, key=str))}")
        check_id(entry["image_id"], f"{where}: image_id")
        if not is_int(entry["category_id"]):
            raise ResultsError(f"{where}: category_id: expected an integer, got {shown(entry['category_id'])}")
        check_bbox(entry["bbox"], f"{where}: bbox")
        if not is_finite(entry["score"]):
            raise ResultsError(f"{where}: score: expected a finite number, got {shown(entry['score'])}")
        if known_images is not None and entry["image_id"] not in known_images:
            raise ResultsError(f"{where}: image_id: no such image {entry['image_id']!r}")
        if known_categories is not None and entry["category_id"] not in known_categories:
            raise ResultsError(f"{where}: category_id: no such category {entry['category_id']!r}")


def check_id(value: Any, where: str) -> None:
    """Raises ResultsError, starting with `where`, unless value is an integer or a string."""
    if not (is_int(value) or isinstance(value, str)):
        raise ResultsError(f"{where}: expected an integer or a string, got {shown(value)}")


def check_bbox(value: Any, where: str) -> None:
    """Raises ResultsError, starting with `where`, unless value is a [x, y, w, h] with w, h >= 0."""
    if (
        not isinstance(value, Sequence | np.ndarray)
        or len(value) != 4
        or not all(is_finite(v) for v in value)
        or value[2] < 0
        or value[3] < 0
        or not (is_finite(value[0] + value[2]) and is_finite(value[1] + value[3]))
    ):
        raise ResultsError(f"{where}: expected [x, y, w, h], finite numbers with w >= 0 and h >= 0, got {shown(value)}")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; ResultsError with path and line where it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # text in other encodings, endless numbers, great depth
        raise ResultsError(f"{path}: not a JSON file: {error}") from error


def is_int(value: Any) -> bool:
    """An integer of Python or NumPy; a bool is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """A finite real number of Python or NumPy; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def shown(value: Any) -> str:
    """A value for a message, cut to a length that can be read."""
    return reprlib.repr(value)


def _kind(value: Any) -> str:
    return type(value).__name__
