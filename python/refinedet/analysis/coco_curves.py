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
    records = as_records(truth, detections)
    limits = [max_detections]
    precision = np.full((len(STEPS), len(RECALLS), len(truth.class_names)), np.nan)
    for label in range(1, len(truth.class_names) + 1):
        own = truth.labels == label
        if not (own & ~truth.crowd).any():
            continue
        mine = [_of_class(record, label) for record in records]
        alike = np.isin(truth.labels, np.flatnonzero(groups.similar[label]))
        alone, found = _restrict(truth, own, mine)
        strict = run_pycocotools(alone, found, limits, iou_thresholds=[0.75, 0.5, WEAK]).eval["precision"]
        rows = list(strict[:, :, 0, 0, -1])
        for others in (alike, ~own):
            part, found = _restrict(truth, own | others, mine)
            ignored = others[own | others]
            # areas do not matter here: the first range is that of all
            evaluation = run_pycocotools(part, found, limits, iou_thresholds=[WEAK], ignored=ignored)
            rows.append(evaluation.eval["precision"][0, :, 0, 0, -1])
        rows += [(rows[-1] > 0).astype(np.float64), np.ones(len(RECALLS))]
        precision[..., label - 1] = rows
    return CocoCurves(precision, truth.class_names)


def _of_class(record: ImageDetections, label: int) -> ImageDetections:
    mine = record.labels == label
    return ImageDetections(record.image_id, record.boxes[mine], record.scores[mine], np.ones(int(mine.sum()), np.int64))


def _restrict(
    truth: GroundTruth, chosen: np.ndarray, records: Sequence[ImageDetections]
) -> tuple[GroundTruth, list[ImageDetections]]:
    """Some objects (G,) bool as those of one class. All images stay: what has neither objects nor detections costs
    pycocotools nothing."""
    one = dataclasses.replace(
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
    return one, [record for record in records if len(record)]


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
