"""The AP that each kind of error costs, by what would mend it, after TIDE.

D. Bolya, S. Foley, J. Hays, J. Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020.
Their package tidecv is of 2020, wants OpenCV with windows, pandas and seaborn, and takes detections on ignored regions
for errors; the numbers here are its own where there are no such regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .matching import STRONG, WEAK, Scene, coco_average_precision, match
from .style import KIND_COLORS, grid_of_panels, save

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
TOTALS = ("false positives", "false negatives")


@dataclass(frozen=True)
class ErrorCosts:
    """ap: COCO's AP at an overlap of 0.5, the mean over the classes with objects, in 0..1, None without objects.

    costs: by kind, and for all false positives and all false negatives, how much higher AP is without them; it need not
    add up. counts: by kind, detections, or objects that were missed. per_class (C, 6) int64: counts by the class of the
    detection, or of the missed object. kinds (D,) int64: of each detection, its position in `KINDS`, -1 where it is no
    error.
    """

    ap: float | None
    costs: dict[str, float | None]
    counts: dict[str, int]
    per_class: np.ndarray
    kinds: np.ndarray


def error_costs(scene: Scene) -> ErrorCosts:
    """Every false positive is of one kind, the first that fits: localisation (it overlaps an object of its class by 0.1
    but not by 0.5), classification (one of another class by 0.5), duplicate (one of its class by 0.5, which another
    detection has found), background (none by 0.1), both (what is left: one of another class by 0.1). Missed are the
    objects that nothing found, unless a wrong class or place explains that.

    To mend the first two, the best of the detections that miss an object by its class or its place becomes a correct
    one, where nothing else found it; the others are taken out. The next three are taken out. Missed objects no longer
    count; a class that has no others leaves the mean.
    """
    matching = match(scene)
    same, to_find = scene.same_class, scene.to_find
    own, own_object = scene.best(same & to_find)
    other, other_object = scene.best(~same & to_find)
    wrong = matching.wrong
    classified = np.full(len(scene), KINDS.index("both"))
    for kind, which in (
        ("background", np.maximum(own, other) < WEAK),
        ("duplicate", own >= STRONG),
        ("classification", other >= STRONG),
        ("localisation", (own >= WEAK) & (own < STRONG)),
    ):
        classified[which] = KINDS.index(kind)
    kinds = np.where(wrong, classified, -1)

    missed = (matching.found_by < 0) & ~scene.ignored
    target = np.full(len(scene), -1)  # the object that a detection would find if it were mended
    for kind, objects in (("classification", other_object), ("localisation", own_object)):
        target[kinds == KINDS.index(kind)] = objects[kinds == KINDS.index(kind)]
    aimed = np.flatnonzero(target >= 0)
    aimed = aimed[missed[target[aimed]]]
    explained, first = np.unique(target[aimed], return_index=True)
    mends = np.zeros(len(scene), bool)
    # Detections are ordered by score: the first is the best. One alone of both kinds mends an object, as in tidecv.
    mends[aimed[first]] = True
    missed[explained] = False

    per_class = np.zeros((len(scene.class_names) + 1, len(KINDS)), np.int64)
    np.add.at(per_class, (scene.labels[wrong], kinds[wrong]), 1)
    np.add.at(per_class, (scene.truth.labels[missed], KINDS.index("missed")), 1)

    correct, counted = matching.correct, ~matching.neutral
    objects_of = scene.objects_per_class
    ap = _mean_ap(scene.labels, correct, counted, objects_of)
    costs: dict[str, float | None] = {}
    for number, kind in enumerate(KINDS[:-1]):
        these = kinds == number
        mended = these & mends
        labels = np.where(mended, scene.truth.labels[target], scene.labels) if mended.any() else scene.labels
        costs[kind] = _mean_ap(labels, correct | mended, counted & (~these | mended), objects_of)
    lost = np.bincount(scene.truth.labels[missed], minlength=len(objects_of))
    costs["missed"] = _mean_ap(scene.labels, correct, counted, objects_of - lost)
    costs[TOTALS[0]] = _mean_ap(scene.labels, correct, counted & ~wrong, objects_of)
    found = np.bincount(scene.truth.labels[matching.found_by >= 0], minlength=len(objects_of))
    costs[TOTALS[1]] = _mean_ap(scene.labels, correct, counted, found)
    return ErrorCosts(
        ap,
        {kind: None if ap is None or value is None else value - ap for kind, value in costs.items()},
        dict(zip(KINDS, per_class.sum(axis=0).tolist(), strict=True)),
        per_class[1:],
        kinds,
    )


def _mean_ap(labels: np.ndarray, correct: np.ndarray, counted: np.ndarray, objects: np.ndarray) -> float | None:
    """labels, correct, counted: (D,) of the detections, the best first. objects: (C + 1,) by label."""
    values = [
        coco_average_precision(correct[counted & (labels == label)], int(objects[label]))
        for label in range(1, len(objects))
        if objects[label]
    ]
    return float(np.mean(values)) if values else None


def as_json(found: ErrorCosts, class_names: list[str]) -> dict[str, Any]:
    """Plain values: AP, what each kind costs, and how many there are, in all and by class."""
    return {
        "AP50": found.ap,
        "costs": found.costs,
        "counts": found.counts,
        "classes": {
            name: dict(zip(KINDS, row, strict=True))
            for name, row in zip(class_names, found.per_class.tolist(), strict=True)
        },
    }


def plot_error_costs(found: ErrorCosts, path: str | Path) -> None:
    """Draws the AP that each kind costs, with the number of errors, and the two totals."""
    figure, columns = grid_of_panels(2, width=4.6, height=2.8, most_columns=2)
    total_colors = {TOTALS[0]: "#777777", TOTALS[1]: KIND_COLORS["missed"]}
    false = sum(found.counts.values()) - found.counts["missed"]
    counts = {**found.counts, TOTALS[0]: false}
    for panel, kinds, title in zip(columns, (KINDS, TOTALS), ("by what would mend them", "in all"), strict=True):
        axes = panel[0]
        values = [100 * (found.costs[kind] or 0.0) for kind in kinds]
        rows = np.arange(len(kinds))
        axes.barh(rows, values, color=[{**KIND_COLORS, **total_colors}[kind] for kind in kinds], height=0.68)
        for row, kind, value in zip(rows, kinds, values, strict=True):
            text = "-" if found.costs[kind] is None else f"{value:.1f}"
            if kind in counts:
                text += f"  ({counts[kind]:,})"
            axes.annotate(
                text, (max(value, 0.0), row), (4, 0), textcoords="offset points", va="center", fontsize=9
            )  # fmt: skip
        axes.set_yticks(rows, kinds)
        axes.set(ylim=(len(kinds) - 0.4, -0.6), xlabel="AP50 that they cost, points (number of errors)")
        axes.set_xlim(min(0.0, *values) * 1.1, max(1.0, *values) * 1.32)
        axes.grid(visible=False, axis="y")
        axes.set_title(title, loc="left")
    if found.ap is not None:
        figure.suptitle(f"AP50 {100 * found.ap:.1f}", x=0.01, ha="left", fontsize=11)
    save(figure, path)
