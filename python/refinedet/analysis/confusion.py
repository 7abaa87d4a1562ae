"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..figures import INK, new_figure
from .matching import STRONG, Scene, match, take
from .style import plain, save

NOTHING = "background"
MISSED = "missed"
WRITTEN = 20
"""Most classes whose numbers are written into the picture."""


@dataclass(frozen=True)
class Confusion:
    """counts (C + 1, C + 1) int64: rows are what is there, by class, and last the background; columns what was
    detected, by class, and last what was missed. The corner is empty. threshold: the lowest score that counts."""

    counts: np.ndarray
    class_names: list[str]
    threshold: float


def confusion_matrix(scene: Scene, threshold: float) -> Confusion:
    """Of the detections with at least this score, at an overlap of 0.5.

    First every detection finds what it finds by the metric's rule, so that the diagonal counts the correct ones; then
    those that found nothing take what is left of the other classes, the best score first. Detections on ignored objects
    of their class count neither way.
    """
    chosen = scene.scores >= threshold
    matching = match(scene)  # the best score first: what lies below the threshold takes nothing from what is above
    object_of = np.where(chosen, matching.object_of, -1)
    found_by = np.full(len(scene.truth), -1)
    correct = np.flatnonzero(object_of >= 0)
    found_by[object_of[correct]] = correct
    allowed = chosen & ~matching.neutral
    rows = (scene.pair_iou >= STRONG) & scene.to_find & ~scene.same_class & allowed[scene.pair_detection]
    take(scene, np.flatnonzero(rows), object_of, found_by)

    size = len(scene.class_names) + 1
    counts = np.zeros((size, size), np.int64)
    truth = scene.truth.labels - 1
    found = np.flatnonzero(object_of >= 0)
    np.add.at(counts, (truth[object_of[found]], scene.labels[found] - 1), 1)
    counts[-1] += np.bincount(scene.labels[allowed & (object_of < 0)] - 1, minlength=size)
    counts[:, -1] += np.bincount(truth[~scene.ignored & (found_by < 0)], minlength=size)
    return Confusion(counts, scene.class_names, threshold)


def as_json(confusion: Confusion) -> dict[str, Any]:
    """Plain values: rows are what is there, columns what was detected, and the names of both."""
    return {
        "threshold": confusion.threshold,
        "rows": [*confusion.class_names, NOTHING],
        "columns": [*confusion.class_names, MISSED],
        "counts": confusion.counts.tolist(),
    }


def plot_confusion(confusion: Confusion, path: str | Path) -> None:
    """Draws the matrix, the colour of a cell being its share of the row, with the numbers up to 20 classes."""
    counts = confusion.counts
    size = len(counts)
    written = size - 1 <= WRITTEN
    side = min(13.0, 2.2 + (0.52 if written else 0.15) * size + 0.05 * max(map(len, confusion.class_names)))
    figure = new_figure(max(5.0, side + 0.9), max(4.4, side))
    axes = figure.add_subplot()
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the row", shrink=0.5, aspect=25)
    font = 9 if written else 6
    names = [plain(name, 18) for name in confusion.class_names]
    axes.set_xticks(range(size), [*names, MISSED], rotation=90 if size > 6 else 45, fontsize=font)
    if size <= 6:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [*names, NOTHING], fontsize=font)
    axes.set(xlabel="detected", ylabel="there")
    axes.axhline(size - 1.5, color=INK, linewidth=0.8)
    axes.axvline(size - 1.5, color=INK, linewidth=0.8)
    if written:
        _write(axes, counts, shares)
    axes.tick_params(length=0)
    axes.set_title(f"scores from {confusion.threshold:.2f}, overlap from {STRONG}", loc="left", color=INK, fontsize=10)
    save(figure, path)


def _write(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    for row, column in np.argwhere(counts).tolist():
        color = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=color)
