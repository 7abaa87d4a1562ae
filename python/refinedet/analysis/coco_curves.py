"""COCO's analysis: how precision over recall would be without one kind of error after the other, by pycocotools.

https://cocodataset.org/#detection-eval, section 4, "Analysis code".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation import GroundTruth, ImageDetections
from ..evaluation.coco import as_records, run_pycocotools
from .groups import Groups
from .matching import RECALLS, WEAK
from .style import CORRECT, CORRECT_TOO, KIND_COLORS, grid_of_panels, plain, save

STEPS = ("C75", "C50", "Loc", "Sim", "Oth", "BG", "FN")
MEANINGS = (
    "overlap 0.75", "overlap 0.50", "badly localised", "similar classes", "other classes", "background", "missed"
)  # fmt: skip


@dataclass(frozen=True)
class CocoCurves:
    """precision (7, 101, C): of the steps in `STEPS` at COCO's 101 recalls, by class; nan of a class without objects.

    Each step forgives what those before it do, and more: C75 and C50 ask for that overlap; Loc for 0.1; Sim takes
    detections on similar classes out, Oth those on all other classes, BG all false positives, FN what was missed too.
    """

    precision: np.ndarray
    class_names: list[str]

    def mean(self, labels: Sequence[int] | None = None) -> np.ndarray:
        """(7, 101): the mean over some classes (None: all) of those that have objects; nan without any."""
        chosen = self.precision if labels is None else self.precision[..., [label - 1 for label in labels]]
        measured = chosen[..., ~np.isnan(chosen[0, 0])]
        if not measured.shape[-1]:
            return np.full(self.precision.shape[:2], np.nan)
        mean: np.ndarray = measured.mean(axis=-1)
        return mean


def coco_curves(
    truth: GroundTruth, detections: Sequence[ImageDetections], groups: Groups, max_detections: int = 100
) -> CocoCurves:
    """By COCO's protocol: difficult objects count as any other, and an object of another class takes one detection out,
    a crowd any number.

    max_detections: most detections per image and class.
    """
    found = _by_class(as_records(truth, detections))
    precision = np.full((len(STEPS), len(RECALLS), len(truth.class_names)), np.nan)
    for label in range(1, len(truth.class_names) + 1):
        own = truth.labels == label
        if not (own & ~truth.crowd).any():
            continue
        mine: Sequence[ImageDetections] = found.get(label, [])
        # an image with neither objects nor detections of the class changes nothing, and there are many
        images = {record.image_id for record in mine} | {truth.image_ids[i] for i in truth.image_index[own].tolist()}
        part = truth.subset(images)
        own, alike = part.labels == label, np.isin(part.labels, np.flatnonzero(groups.similar[label]))

        def curves(
            others: np.ndarray,
            overlaps: Sequence[float],
            part: GroundTruth = part,
            own: np.ndarray = own,
            mine: Sequence[ImageDetections] = mine,
        ) -> np.ndarray:
            """(T, 101): with the others (G,) bool taken for objects of this class that count neither way."""
            one = _as_one_class(part, own | others)
            evaluation = run_pycocotools(
                one, mine, [max_detections], iou_thresholds=overlaps, ignored=others[own | others], by_size=False
            )
            rows: np.ndarray = evaluation.eval["precision"][:, :, 0, 0, -1]
            return rows

        rows = [*curves(np.zeros_like(own), [0.75, 0.5, WEAK]), *curves(alike, [WEAK]), *curves(~own, [WEAK])]
        rows += [(rows[-1] > 0).astype(np.float64), np.ones(len(RECALLS))]
        precision[..., label - 1] = rows
    return CocoCurves(precision, truth.class_names)


def _by_class(records: Sequence[ImageDetections]) -> dict[int, list[ImageDetections]]:
    """By label, its detections, as label 1."""
    found: dict[int, list[ImageDetections]] = {}
    for record in records:
        for label in np.unique(record.labels).tolist():
            mine = record.labels == label
            one = ImageDetections(
                record.image_id, record.boxes[mine], record.scores[mine], np.ones(int(mine.sum()), np.int64)
            )
            found.setdefault(label, []).append(one)
    return found


def _as_one_class(truth: GroundTruth, chosen: np.ndarray) -> GroundTruth:
    """Some of the objects (G,) bool, all with label 1."""
    return dataclasses.replace(
        truth,
        class_names=["one"],
        category_ids=[1],
        image_index=truth.image_index[chosen],
        boxes=truth.boxes[chosen],
        labels=np.ones(int(chosen.sum()), np.int64),
        area=truth.area[chosen],
        crowd=truth.crowd[chosen],
        difficult=truth.difficult[chosen],
    )


def as_json(curves: CocoCurves, groups: Groups) -> dict[str, Any]:
    """Plain values: the area below each step's curve, and the curves of all and of the groups; None without objects."""

    def areas(mean: np.ndarray) -> dict[str, float | None]:
        return {step: None if np.isnan(row).any() else float(row.mean()) for step, row in zip(STEPS, mean, strict=True)}

    def whole(labels: Sequence[int] | None) -> dict[str, Any]:
        mean = curves.mean(labels)
        return {"areas": areas(mean), "precision": None if np.isnan(mean).any() else mean.round(5).tolist()}

    return {
        "steps": list(STEPS),
        "all": whole(None),
        "groups": {group: whole(labels) for group, labels in groups.members.items()},
        "classes": {name: areas(curves.mean([i + 1])) for i, name in enumerate(curves.class_names)},
    }


def plot_coco_curves(curves: CocoCurves, groups: Groups, path: str | Path) -> None:
    """Draws the curves of all classes, and of each group where there are several."""
    panels: dict[str, Sequence[int] | None] = {"all": None}
    if len(groups.members) > 1:
        panels |= groups.members
    means = {name: curves.mean(labels) for name, labels in panels.items()}
    means = {name: mean for name, mean in means.items() if not np.isnan(mean).any()}
    if not means:
        means = {"all": np.zeros((len(STEPS), len(RECALLS)))}
    figure, columns = grid_of_panels(len(means), width=4.6, height=2.9, most_columns=3)
    colors = [CORRECT, CORRECT_TOO, *(KIND_COLORS[k] for k in ("localisation", "similar", "other", "background"))]
    colors.append(KIND_COLORS["missed"])
    for (name, mean), panel in zip(means.items(), columns, strict=True):
        axes = panel[0]
        below = np.zeros(len(RECALLS))
        for step, meaning, row, color in zip(STEPS, MEANINGS, mean, colors, strict=True):
            label = f"{100 * row.mean():5.1f}  {step}, {meaning}"
            # a step can lie below the one before it where what it takes out was correct by chance
            axes.fill_between(RECALLS, below, np.maximum(row, below), color=color, linewidth=0, label=label)
            below = np.maximum(row, below)
        axes.plot(RECALLS, mean[1], color="#111111", linewidth=1.2)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
        axes.set_title(plain(name), loc="left")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=7,
            title="area below, %", title_fontsize=7, alignment="left",
        )  # fmt: skip
    save(figure, path)
