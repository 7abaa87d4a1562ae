"""Precision, recall and F1 as the score threshold rises, and where F1 is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .matching import Scene, match
from .style import LINE_COLORS, grid_of_panels, legend_below, plain, save

ALL = "all classes"
GRID = 101
MANY = 6


@dataclass(frozen=True)
class Best:
    """The score threshold with the highest F1, detections with that score included, and what it gives; of equal F1 the
    highest threshold. None where no threshold gives a correct detection."""

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ScoreCurve:
    """thresholds (T,) falling, the different scores of the detections; correct, detections (T,) int64: those with at
    least that score. objects: to find. Detections that count neither way are left out."""

    thresholds: np.ndarray
    correct: np.ndarray
    detections: np.ndarray
    objects: int

    @property
    def precision(self) -> np.ndarray:
        """(T,) in 0..1."""
        share: np.ndarray = self.correct / self.detections
        return share

    @property
    def recall(self) -> np.ndarray:
        """(T,) in 0..1, nan without objects."""
        if not self.objects:
            return np.full(len(self.correct), np.nan)
        share: np.ndarray = self.correct / self.objects
        return share

    @property
    def f1(self) -> np.ndarray:
        """(T,) in 0..1: 2 correct / (detections + objects)."""
        f1: np.ndarray = 2 * self.correct / (self.detections + self.objects)
        return f1

    @property
    def best(self) -> Best | None:
        if not len(self.correct) or self.correct[-1] == 0:
            return None
        row = int(np.argmax(self.f1))
        values = (self.thresholds, self.precision, self.recall, self.f1)
        return Best(*(float(one[row]) for one in values))

    def at(self, threshold: float) -> tuple[int, int]:
        """Correct detections, and all, with at least this score."""
        row = int(np.searchsorted(-self.thresholds, -threshold, side="right"))
        return (int(self.correct[row - 1]), int(self.detections[row - 1])) if row else (0, 0)


def score_curves(scene: Scene) -> dict[str, ScoreCurve]:
    """The curve of every class by name, at an overlap of 0.5."""
    matching = match(scene)
    counts = scene.objects_per_class
    return {
        name: _curve(scene.scores, matching.correct, (scene.labels == label) & ~matching.neutral, int(counts[label]))
        for label, name in enumerate(scene.class_names, start=1)
    }


def pooled_curve(scene: Scene) -> ScoreCurve:
    """The curve of the detections of all classes together, so that each object weighs the same."""
    matching = match(scene)
    return _curve(scene.scores, matching.correct, ~matching.neutral, int(scene.objects_per_class.sum()))


def _curve(scores: np.ndarray, correct: np.ndarray, chosen: np.ndarray, objects: int) -> ScoreCurve:
    """scores (D,) falling; chosen (D,) bool: the detections that count."""
    thresholds = scores[chosen]
    last = np.flatnonzero(np.diff(thresholds, append=-np.inf))  # of each score: a threshold takes all that are equal
    return ScoreCurve(thresholds[last], np.cumsum(correct[chosen])[last], last + 1, objects)


def as_json(curves: dict[str, ScoreCurve], pooled: ScoreCurve) -> dict[str, Any]:
    """Plain values: the best thresholds, and the curves at 101 thresholds from 0 (or the lowest score) to 1 (or the
    highest)."""
    used = [curve.thresholds for curve in (pooled,) if len(curve.thresholds)]
    low, high = (min(0.0, float(used[0][-1])), max(1.0, float(used[0][0]))) if used else (0.0, 1.0)
    grid = np.linspace(low, high, GRID)

    def one(curve: ScoreCurve) -> dict[str, Any]:
        best = curve.best
        counts = [curve.at(threshold) for threshold in grid.tolist()]
        return {
            "objects": curve.objects,
            "best": None if best is None else vars(best),
            "correct": [correct for correct, _ in counts],
            "detections": [total for _, total in counts],
        }

    return {
        "thresholds": grid.round(6).tolist(),
        "all": one(pooled),
        "classes": {name: one(curve) for name, curve in curves.items()},
    }


def plot_scores(curves: dict[str, ScoreCurve], pooled: ScoreCurve, path: str | Path) -> None:
    """Draws the three over the threshold: the pooled curve with its best threshold, and those of the classes; more than
    six of them in grey."""
    figure, columns = grid_of_panels(3, width=3.5, height=3.3, most_columns=3)
    measured = {name: curve for name, curve in curves.items() if curve.objects and len(curve.thresholds)}
    many = len(measured) > MANY
    best = pooled.best
    for number, (panels, what) in enumerate(zip(columns, ("precision", "recall", "f1"), strict=True)):
        axes = panels[0]
        for color, (name, curve) in zip(_colors(len(measured)), measured.items(), strict=True):
            style: dict[str, Any] = {"color": color, "linewidth": 0.8 if many else 1.5}
            _draw(axes, curve, what, **style)
            if number == 0 and not many:
                axes.plot([], [], label=plain(name), **style)
        if number == 0 and many:
            axes.plot([], [], color="#bbbbbb", linewidth=0.8, label=f"{len(measured)} classes")
        if len(measured) != 1:
            _draw(axes, pooled, what, color="#111111", linewidth=2.4)
            if number == 0:
                axes.plot([], [], color="#111111", linewidth=2.4, label=ALL)
        if best is not None:
            label = f"best threshold {best.threshold:.2f}" if number == 0 else None
            axes.axvline(best.threshold, color="#111111", linestyle=":", linewidth=1.2, label=label)
            value = getattr(best, what)
            side = "right" if best.threshold > 0.5 else "left"
            axes.plot(best.threshold, value, "o", color="#111111", markersize=5)
            axes.annotate(
                f"{value:.2f}", (best.threshold, value), (-7 if side == "right" else 7, -12),
                textcoords="offset points", ha=side, fontsize=9, fontweight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold")
        axes.set_title("F1" if what == "f1" else what, loc="left")
    legend_below(figure, columns[0][0])
    save(figure, path)


def _draw(axes: Any, curve: ScoreCurve, what: str, **style: Any) -> None:
    # a threshold counts down to the next score below it, and recall and F1 are 0 above the highest
    x = np.concatenate([[max(1.0, curve.thresholds[0])] if len(curve.thresholds) else [1.0], curve.thresholds])
    y = getattr(curve, what)
    first = y[:1] if what == "precision" else np.zeros(1)
    if len(y):
        axes.plot(np.append(x, 0.0), np.concatenate([first, y, y[-1:]]), drawstyle="steps-post", **style)


def _colors(count: int) -> Sequence[str]:
    return LINE_COLORS[:count] if count <= MANY else ["#bbbbbb"] * count
