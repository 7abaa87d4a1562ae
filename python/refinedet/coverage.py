"""How well the anchors of a model cover the boxes of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .boxes import box_iou
from .data.annotations import AnnotationTable
from .data.statistics import SIZES, measure
from .detectors import Detector
from .registry import create_model, list_models

MOST_BOXES = 4000
_ROWS = 64  # of boxes at a time, so that what they need stays in the cache
GOOD_IOU = 0.5
"""From this IoU on an anchor is trained on an object whatever other anchors there are."""

ENOUGH = 0.9
CLEARLY = 0.05
"""Shares of boxes: what needs no advice, and what a better choice has to bring."""


@dataclass(frozen=True)
class Coverage:
    """Of the boxes of one size, or of all: how many there are, the mean of their best IoU with an anchor, and the share
    whose best IoU is at least 0.5. NaN where there are none."""

    boxes: int
    mean_iou: float
    good: float


def anchors_of(name: str, input_size: int | None = None) -> tuple[np.ndarray, int]:
    """The anchors (A, 4) of a registered model, as fractions of its input, and the input's side; None is its own size.

    The network runs without memory for its weights. Raises ValueError for an unknown model or a size that does not fit.
    """
    with torch.device("meta"):
        model = create_model(name, 2).eval()
    side = model.input_side(input_size)
    recorder = _Recorder(model)
    with torch.no_grad():
        model.head_outputs(torch.empty(1, 3, side, side, device="meta"))
    return recorder.anchors.double().numpy(), side


class _Recorder:
    """Stands in for a model's anchor generator and keeps what that makes."""

    def __init__(self, model: Detector) -> None:
        self.generate = model.anchor_generator
        self.anchors = torch.zeros(0, 4)
        model.anchor_generator = self  # type: ignore[assignment]

    def __call__(self, sizes: list[tuple[int, int]], image_size: tuple[int, int], device: torch.device) -> torch.Tensor:
        self.anchors = self.generate(sizes, image_size, "cpu")
        return self.anchors.to(device)


def best_ious(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(N,): the best IoU of each box (N, 4) with an anchor (A, 4)."""
    best = np.zeros(len(boxes))
    for start in range(0, len(boxes), _ROWS):
        rows = boxes[start : start + _ROWS]
        best[start : start + _ROWS] = box_iou(rows[:, None], anchors).max(axis=1)
    return best


def cover(table: AnnotationTable, anchors: np.ndarray, input_size: int) -> dict[str, Coverage]:
    """Coverage of the boxes by size ("small", "medium", "large", in pixels of the input) and of "all".

    Crowd boxes do not count. Of more than 4,000 boxes every k-th is looked at.
    """
    found = measure(table, int(table.labels.max(initial=1)), input_size)
    rows = np.flatnonzero(~table.crowd)
    rows = rows[:: max(1, -(-len(rows) // MOST_BOXES))]
    ious = best_ious(found.boxes[rows] / input_size, anchors)
    sizes = found.sizes[rows]
    masks = {name: sizes == number for number, name in enumerate(SIZES)} | {"all": np.ones(len(rows), bool)}
    return {name: _coverage(ious[mask]) for name, mask in masks.items()}


def _coverage(ious: np.ndarray) -> Coverage:
    if not len(ious):
        return Coverage(0, float("nan"), float("nan"))
    return Coverage(len(ious), float(ious.mean()), float((ious >= GOOD_IOU).mean()))


@dataclass(frozen=True)
class Choice:
    """A model at an input size, and its coverage."""

    model: str
    input_size: int
    coverage: dict[str, Coverage]

    @property
    def worst(self) -> float:
        """The lowest share of well covered boxes among the sizes that have at least 2 % of the boxes."""
        total = self.coverage["all"].boxes
        return min((c.good for c in self.coverage.values() if c.boxes >= max(1, total / 50)), default=float("nan"))


def better_choices(table: AnnotationTable, now: Choice, most: int = 3) -> list[Choice]:
    """Models and input sizes whose anchors cover the boxes clearly better than now, the least work first: this model
    at up to twice its size, and the others with an input up to one and a half times as large.

    None where the worst covered size has 90 % of its boxes well covered already.
    """
    if not now.worst < ENOUGH:
        return []
    with torch.device("meta"):
        step = create_model(now.model, 2).size_multiple
    wanted = [now.input_size * factor for factor in (0.75, 1.25, 1.5, 2.0)]
    sizes = sorted({max(step, round(size / step) * step) for size in wanted} - {now.input_size})
    tried: list[tuple[str, int | None]] = [(now.model, size) for size in sizes]
    tried += [(name, None) for name in list_models() if name != now.model]
    seen: set[tuple[int, bytes]] = set()
    found = []
    for name, size in tried:
        anchors, side = anchors_of(name, size)
        if (side, anchors.tobytes()) in seen or (size is None and side > 1.5 * now.input_size):
            continue
        seen.add((side, anchors.tobytes()))
        choice = Choice(name, side, cover(table, anchors, side))
        if choice.worst >= now.worst + CLEARLY:
            found.append(choice)
    found.sort(key=lambda choice: (choice.worst < ENOUGH, choice.input_size, -choice.worst))
    return found[:most]
