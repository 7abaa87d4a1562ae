"""What a data set consists of, as a few lines for people: shown before every training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..text_table import align
from .dataset import DetectionDataset
from .report import AnnotationReport
from .statistics import SIZE_LIMITS, Statistics, measure

_MOST_CLASSES = 30


def describe(
    parts: Mapping[str, DetectionDataset],
    input_size: int,
    *,
    most_classes: int | None = _MOST_CLASSES,
    problems: int | None = 10,
) -> str:
    """A table of the parts of a data set, and below it what was left out, and why.

    parts: data sets of the same classes by name. input_size: side of the network's input in pixels, which the sizes of
    boxes are counted in. most_classes: of more classes the table has the most and the least frequent; None: all.
    problems: how many of those in the annotations are named; None: all. The text ends without a line break.
    """
    names = next(iter(parts.values())).class_names
    found = {part: measure(dataset.table, len(names), input_size) for part, dataset in parts.items()}
    low, high = SIZE_LIMITS
    per_class = np.stack([one.per_class for one in found.values()], axis=1)  # (C, parts)
    rows: list[list[str]] = [["", *parts]]

    def add(name: str, cell: Callable[[Statistics], str]) -> None:
        rows.append([name, *(cell(one) for one in found.values())])

    add("images", lambda one: f"{len(one.per_image):,}")
    if any((one.per_image == 0).any() for one in found.values()):
        add("  without objects", lambda one: f"{(one.per_image == 0).sum():,}")
    add("  width x height", _image_sizes)
    add("objects", lambda one: f"{len(one.labels):,}")
    add("  per image: least, median, most", lambda one: _three(one.per_image))
    add(f"  small, medium, large at {input_size} px", _shares)
    shown = _shown_classes(per_class.sum(axis=1), most_classes)
    for label in shown:
        rows.append([f"  {names[label]}", *(f"{count:,}" for count in per_class[label])])
    lines = align(rows)
    if len(shown) < len(names):
        place = len(lines) - len(shown) // 2
        lines.insert(place, f"  ... {len(names) - len(shown)} classes in between")
    if len(parts) > 0 and any(len(one.labels) for one in found.values()):
        lines.append(
            f"small: a box as large as a square of less than {low:g} pixels of the input; large: from {high:g}"
        )
    for (part, one), dataset in zip(found.items(), parts.values(), strict=True):
        missing = [name for name, count in zip(names, one.per_class, strict=True) if not count]
        if missing and len(one.labels):
            lines.append(f"no objects in {part} of: {_listed(missing)}")
        lines += [f"{part}: {count:,} left out: {reason}" for reason, count in _own_exclusions(dataset)]
    for part, report in _origins(parts):
        details = [line for line in report.details(problems) if line != "  no problems found"]
        if details:
            lines += [f"{part}: {report.source}", *details]
    return "\n".join(lines)


def _image_sizes(one: Statistics) -> str:
    sizes = np.unique(one.image_sizes, axis=0)
    if not len(sizes):
        return "-"
    by_area = sizes[np.argsort(sizes.prod(axis=1), kind="stable")]
    texts = [f"{width} x {height}" for width, height in (by_area[0], by_area[-1])]
    return texts[0] if len(sizes) == 1 else " to ".join(texts)


def _three(values: np.ndarray) -> str:
    return f"{values.min()}, {np.median(values):g}, {values.max()}" if len(values) else "-"


def _shares(one: Statistics) -> str:
    if not len(one.labels):
        return "-"
    shares = np.bincount(one.sizes, minlength=3) / len(one.labels)
    return ", ".join(f"{share:.0%}" for share in shares)


def _shown_classes(counts: np.ndarray, most: int | None) -> list[int]:
    """Positions of the classes to show: all in their order, or the most and the least frequent."""
    if most is None or len(counts) <= most:
        return list(range(len(counts)))
    order = np.argsort(-counts, kind="stable").tolist()
    rarest = most // 2
    return [*order[: most - rarest], *order[len(order) - rarest :]]


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _own_exclusions(dataset: DetectionDataset) -> list[tuple[str, int]]:
    """What was left out when the part was cut out of a larger data set."""
    return [] if dataset.report is dataset.origin else sorted(dataset.report.excluded.items())


def _origins(parts: Mapping[str, DetectionDataset]) -> list[tuple[str, AnnotationReport]]:
    """The reports of the files, each once, with the parts that it is of."""
    found: dict[int, tuple[list[str], AnnotationReport]] = {}
    for part, dataset in parts.items():
        found.setdefault(id(dataset.origin), ([], dataset.origin))[0].append(part)
    return [(" and ".join(names), report) for names, report in found.values()]
