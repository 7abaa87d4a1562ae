"""How a detector depends on the size and the shape of objects: RefineDet's figure 7, after Hoiem et al.

D. Hoiem, Y. Chodpathumwan, Q. Dai, "Diagnosing error in object detectors", ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..boxes import box_areas
from ..evaluation import average_precision
from .groups import Groups
from .matching import Matching, Scene, match
from .style import LINE_COLORS, grid_of_panels, legend_below, plain, save

SIZES = ("XS", "S", "M", "L", "XL")
RATIOS = ("XT", "T", "M", "W", "XW")
CHARACTERISTICS = {"size": SIZES, "aspect ratio": RATIOS}
CUTS = (0.1, 0.3, 0.7, 0.9)
"""Where the objects of a class are parted: the least 10 %, the next 20 %, the middle 40 %, and so on."""
MOST_CLASSES = 20


@dataclass(frozen=True)
class Normalized:
    """The normalized AP of some objects, in 0..1, its standard error, and how many objects they are; None without
    objects."""

    ap: float | None
    error: float | None
    objects: int


@dataclass(frozen=True)
class Sensitivity:
    """all: of every class. parts: by characteristic, then by class, of the five parts of its objects."""

    all: dict[str, Normalized]
    parts: dict[str, dict[str, dict[str, Normalized]]]

    def means(self, names: Sequence[str] | None = None) -> dict[str, dict[str, float | None]]:
        """By characteristic and part, the mean over some classes (None: all) of those that have such objects."""
        found: dict[str, dict[str, float | None]] = {}
        for characteristic, parts in CHARACTERISTICS.items():
            rows = [row for name, row in self.parts[characteristic].items() if names is None or name in names]
            found[characteristic] = {part: _mean([row[part].ap for row in rows]) for part in parts}
        return found

    def mean(self, names: Sequence[str] | None = None) -> float | None:
        """The normalized AP, the mean over some classes (None: all) of those that have objects."""
        return _mean([one.ap for name, one in self.all.items() if names is None or name in names])


def sensitivity(scene: Scene) -> Sensitivity:
    """Normalized AP at an overlap of 0.5 by size (area of the box) and aspect ratio (width over height).

    What is small or wide is relative to the class: the least 10 % of its objects are XS (XT, extra tall), the next 20 %
    S, then 40 % M, 20 % L and 10 % XL; equal values stay together. Normalized: the precision at a recall is what it
    would be if the class had as many objects as the classes have on average, so that few objects alone do not lower it.
    Detections of a class that find an object of another part are left out, its false positives count for all parts.
    """
    matching = match(scene)
    counts = scene.objects_per_class
    usual = float(counts[counts > 0].mean()) if counts.any() else 0.0
    measures = {"size": box_areas(scene.truth.boxes), "aspect ratio": _ratios(scene.truth.boxes)}
    overall: dict[str, Normalized] = {}
    parts: dict[str, dict[str, dict[str, Normalized]]] = {name: {} for name in CHARACTERISTICS}
    for label, name in enumerate(scene.class_names, start=1):
        objects = np.flatnonzero((scene.truth.labels == label) & ~scene.ignored)
        detections = np.flatnonzero((scene.labels == label) & ~matching.neutral)
        overall[name] = _normalized(matching, detections, objects, usual)
        for characteristic, names in CHARACTERISTICS.items():
            values = measures[characteristic][objects]
            part_of = np.searchsorted(np.quantile(values, CUTS), values) if len(values) else np.zeros(0, int)
            parts[characteristic][name] = {
                part: _normalized(matching, detections, objects[part_of == number], usual)
                for number, part in enumerate(names)
            }
    return Sensitivity(overall, parts)


def _ratios(boxes: np.ndarray) -> np.ndarray:
    """Width over height; infinite without a height, 1 of a point."""
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    flat = np.where(wide > 0, np.inf, 1.0)
    ratios: np.ndarray = np.divide(wide, high, out=flat, where=high > 0)
    return ratios


def _normalized(matching: Matching, detections: np.ndarray, objects: np.ndarray, usual: float) -> Normalized:
    """detections: rows of a class, the best first; objects: rows of those that are to be found."""
    if not len(objects):
        return Normalized(None, None, 0)
    correct = np.isin(detections, matching.found_by[objects])
    counted = correct | matching.wrong[detections]
    correct = correct[counted]
    recall = np.cumsum(correct) / len(objects)
    found = recall * usual
    false = np.cumsum(~correct)
    precision = np.divide(found, found + false, out=np.zeros(len(found)), where=found + false > 0)
    at_objects = np.zeros(len(objects))  # of an object that is not found: 0
    at_objects[: correct.sum()] = precision[correct]
    return Normalized(
        average_precision(recall, precision), float(at_objects.std() / np.sqrt(len(objects))), len(objects)
    )


def as_json(found: Sensitivity, groups: Groups, class_names: Sequence[str]) -> dict[str, Any]:
    """Plain values: of all classes, of every group and of every class, the normalized AP, and by characteristic that of
    the parts; of the means also their range, the worst part and the best."""

    def of(names: Sequence[str] | None) -> dict[str, Any]:
        means = found.means(names)
        measured = {key: [ap for ap in row.values() if ap is not None] for key, row in means.items()}
        ranges = {key: [min(row), max(row)] if row else None for key, row in measured.items()}
        return {"ap": found.mean(names), **means, "range": ranges}

    def one(value: Normalized) -> dict[str, Any]:
        return {"ap": value.ap, "standard_error": value.error, "objects": value.objects}

    return {
        "all": of(None),
        "groups": {group: of([class_names[i - 1] for i in labels]) for group, labels in groups.members.items()},
        "classes": {
            name: {
                **one(overall),
                **{key: {part: one(v) for part, v in found.parts[key][name].items()} for key in CHARACTERISTICS},
            }
            for name, overall in found.all.items()
        },
    }


def plot_sensitivity(found: Sensitivity, groups: Groups, class_names: Sequence[str], path: str | Path) -> None:
    """Draws the parts of every class, of each group where there are more than 20 classes (without groups, of the 20
    classes with most objects), and of all."""
    rows: dict[str, tuple[list[str], bool]] = {name: ([name], True) for name in class_names if found.all[name].objects}
    if len(rows) > MOST_CLASSES and len(groups.members) > 1:
        rows = {group: ([class_names[i - 1] for i in labels], False) for group, labels in groups.members.items()}
    elif len(rows) > MOST_CLASSES:
        frequent = sorted(rows, key=lambda name: -found.all[name].objects)[:MOST_CLASSES]
        rows = {name: rows[name] for name in frequent}
    if len(rows) != 1:
        rows = {"all": (list(class_names), False), **rows}
    across = min(len(rows), 7)
    figure, columns = grid_of_panels(
        -(-len(rows) // across), rows=2, width=1.2 * across + 0.8, height=2.1, most_columns=1
    )
    places = list(rows.items())
    for number, panels in enumerate(columns):
        for panel, (characteristic, parts) in zip(panels, CHARACTERISTICS.items(), strict=True):
            _bars(panel, found, places[number * across : (number + 1) * across], characteristic, parts, across)
    legend_below(figure, columns[0][0], columns=2)
    save(figure, path)


def _bars(
    axes: Any,
    found: Sensitivity,
    rows: Sequence[tuple[str, tuple[list[str], bool]]],
    characteristic: str,
    parts: Sequence[str],
    across: int,
) -> None:
    step = len(parts) + 1
    for place, (_, (names, single)) in enumerate(rows):
        means = found.means(names)[characteristic]
        x = np.arange(len(parts)) + place * step
        heights = np.array([np.nan if means[part] is None else means[part] for part in parts], float)
        axes.bar(x, heights, width=0.84, color=LINE_COLORS[5], label="normalized AP" if place == 0 else None)
        if single:
            errors = [found.parts[characteristic][names[0]][part].error for part in parts]
            axes.errorbar(
                x, heights, np.array([np.nan if e is None else e for e in errors], float), fmt="none", ecolor="#555555",
                elinewidth=1, capsize=2,
            )  # fmt: skip
        overall = found.mean(names)
        if overall is not None:
            label = "of all objects" if place == 0 else None
            axes.hlines(
                overall, x[0] - 0.5, x[-1] + 0.5, color=LINE_COLORS[1], linestyle="--", linewidth=1.4, label=label
            )
        for tick, height, part in zip(x, heights, parts, strict=True):
            if np.isnan(height):
                axes.text(tick, 0.01, "-", ha="center", va="bottom", fontsize=8)
            axes.text(tick, -0.02, part, ha="center", va="top", fontsize=7)
    middle = (len(parts) - 1) / 2
    axes.set_xticks([place * step + middle for place in range(len(rows))], [plain(name, 16) for name, _ in rows])
    axes.tick_params(axis="x", length=0, pad=14)
    axes.set(ylim=(0, 1), xlim=(-0.9, across * step - 1.1), ylabel="normalized AP")
    axes.set_title(characteristic, loc="left", fontsize=10)
    axes.grid(visible=False, axis="x")


def _mean(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return float(np.mean(measured)) if measured else None
