"""AP at every overlap from 0.50 to 0.95 and by the objects' size, as PADet's tables 3 and 4 have it, by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation import GroundTruth, ImageDetections
from ..evaluation.coco import as_records, run_pycocotools
from .style import LINE_COLORS, grid_of_panels, save

SIZES = ("all", "small", "medium", "large")
"""Small below 32 x 32 pixels of the image, large from 96 x 96 on."""


@dataclass(frozen=True)
class Accuracy:
    """overlaps (10,): 0.50 to 0.95. ap (4, 10): by size and overlap, the mean over the classes, in 0..1, nan where
    there is nothing to measure. objects (4,) int64: not crowds; by size, which is that of COCO's `area`."""

    overlaps: np.ndarray
    ap: np.ndarray
    objects: np.ndarray


def accuracy(truth: GroundTruth, detections: Sequence[ImageDetections], max_detections: int = 100) -> Accuracy:
    """By COCO's protocol, as `coco_evaluate`: difficult objects count as any other.

    max_detections: most detections per image and class.
    """
    evaluation = run_pycocotools(truth, as_records(truth, detections), [max_detections])
    precision = evaluation.eval["precision"][..., -1]  # (overlaps, recalls, classes, sizes)
    params = evaluation.params
    order = [params.areaRngLbl.index(size) for size in SIZES]
    table = np.array([[_mean(precision[t, :, :, a]) for t in range(len(params.iouThrs))] for a in order])
    area = truth.area[~truth.crowd]
    ranges = [params.areaRng[a] for a in order]
    return Accuracy(params.iouThrs, table, np.array([((area >= low) & (area <= high)).sum() for low, high in ranges]))


def _mean(values: np.ndarray) -> float:
    """pycocotools marks by -1 what has no ground truth."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else float("nan")


def as_json(found: Accuracy) -> dict[str, Any]:
    """Plain values: by size, the AP at each overlap, their mean, and the number of objects."""
    overlaps = [f"{overlap:.2f}" for overlap in found.overlaps]
    return {
        size: {
            "AP": None if np.isnan(row).all() else float(row.mean()),
            **{overlap: None if np.isnan(ap) else float(ap) for overlap, ap in zip(overlaps, row, strict=True)},
            "objects": int(count),
        }
        for size, row, count in zip(SIZES, found.ap, found.objects, strict=True)
    }


def plot_accuracy(found: Accuracy, path: str | Path) -> None:
    """Draws AP over the overlap, a line for each size."""
    figure, columns = grid_of_panels(1, width=6.4, height=3.6, most_columns=1)
    axes = columns[0][0]
    for size, row, count, color in zip(SIZES, found.ap, found.objects, ("#111111", *LINE_COLORS), strict=False):
        if not np.isnan(row).all():
            label = f"{size}, {count:,} objects, AP {100 * row.mean():.1f}"
            axes.plot(found.overlaps, 100 * row, marker="o", markersize=4, linewidth=1.8, color=color, label=label)
    axes.set(ylim=(0, 100), xlabel="overlap from which a detection is correct", ylabel="AP in %")
    axes.set_xticks(found.overlaps)
    if axes.lines:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    save(figure, path)
