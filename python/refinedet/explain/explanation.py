"""What there is to say about a detector's work on one image: scores, anchors, objects, sampling points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import refinedet_ext as rx

from ..checks import check_integer, check_range
from ..data.image_io import resize_image
from ..detectors import Detector
from ..structures import to_tensor
from ..weights import check_names
from .levels import Level, level_of
from .recording import Recording, record

SAME_BOX = 1e-4  # of the input's side: a detection is the box of one anchor, but for rounding


@dataclass(frozen=True)
class ExplainedObject:
    """A detection, and the anchor that it came from; everything in pixels of the image.

    name, label, score, box: of the detection. level, row, column: of the anchor's cell, level 0 the finest.
    anchor: the tiled box. refined: where the first stage moved it. Boxes are (x1, y1, x2, y2) and may leave the image.
    objectness: the first stage's probability of an object.
    points, regular: (9, 2), x and y where the alignment reads the features of this cell, with its offsets and without;
        None where the level has no alignment.
    """

    name: str
    label: int
    score: float
    box: np.ndarray
    level: int
    row: int
    column: int
    anchor: np.ndarray
    refined: np.ndarray
    objectness: float
    points: np.ndarray | None
    regular: np.ndarray | None


@dataclass(frozen=True)
class Explanation:
    """What a detector did with one image.

    image: (H, W, 3) uint8 BGR. levels: of the pyramid, the finest first. theta: of the filter of easy negatives.
    objectness: per level, (rows, columns): the largest probability of an object among a cell's anchors, as the filter
        reads it. None where the first stage gives no scores.
    kept: per level, (rows, columns): how many of a cell's anchors pass the filter.
    features: by stage, per level, (rows, columns): see `Recording`.
    moved: mean distance in pixels of the image by which the first stage moves the centers of the anchors that pass, of
        each level; None for a level in which none passes.
    aligned: the levels with deformable alignment.
    objects: the detections that are explained. detections: how many there are with such a score.
    """

    image: np.ndarray
    levels: list[Level]
    theta: float
    objectness: list[np.ndarray] | None
    kept: list[np.ndarray]
    features: dict[str, list[np.ndarray]]
    moved: list[float | None]
    aligned: list[int]
    objects: list[ExplainedObject]
    detections: int

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON; maps are lists of rows."""
        levels = [
            {
                "stride": level.stride,
                "rows": level.rows,
                "columns": level.columns,
                "anchors": level.anchors,
                "kept": int(self.kept[i].sum()),
                "moved_px": None if self.moved[i] is None else round(float(self.moved[i] or 0), 3),
                "aligned": i in self.aligned,
                "objectness": None if self.objectness is None else _rounded(self.objectness[i], 4),
                "kept_map": self.kept[i].tolist(),
                "features": {stage: _rounded(maps[i], 4) for stage, maps in self.features.items()},
            }
            for i, level in enumerate(self.levels)
        ]
        return {
            "width": self.image.shape[1],
            "height": self.image.shape[0],
            "theta": self.theta,
            "detections": self.detections,
            "levels": levels,
            "objects": [_object_dict(one) for one in self.objects],
        }


def explain(
    model: Detector,
    image: np.ndarray,
    class_names: Sequence[str] | None = None,
    *,
    score_threshold: float = 0.5,
    objects: int = 6,
    input_size: int | None = None,
) -> Explanation:
    """Run a detector on one image and say what it looked at.

    model: any `Detector` of this package in eval mode. image: (H, W, 3) uint8 BGR; it is resized to the input's size.
    class_names: of the labels 1, 2, ...; None names them "class 1" and so on.
    score_threshold, objects: explain so many of the detections with such a score, the best of each class in turn.
    input_size: side of the input in pixels; None is the model's own.

    TypeError or ValueError for what does not fit, before the network runs; FloatingPointError where it overflows.
    """
    check_range(score_threshold, "score_threshold", 0, 1)
    check_integer(objects, "objects", 1)
    side = model.input_side(input_size)
    if class_names is None:
        class_names = [f"class {label}" for label in range(1, model.num_classes)]
    names = check_names(class_names, model.num_classes)
    pixels = to_tensor(resize_image(image, (side, side)))[None]
    recording = record(model, pixels.to(next(model.parameters()).device))

    outputs = recording.outputs
    with torch.inference_mode():
        kept = rx.filter_anchors_mask(outputs.arm_logits.float(), model.config.theta)[0].cpu().numpy()
        objectness = outputs.arm_logits[0].float().softmax(-1)[:, 1].cpu().numpy()
    scored = bool(np.ptp(objectness) > 0)  # a single stage takes every anchor for an object
    scale = np.array([image.shape[1], image.shape[0]] * 2)
    anchors, refined, final = (boxes.double().cpu().numpy() * scale for boxes in _boxes(model, recording))
    count = int(recording.detections.count[0])
    scores = recording.detections.scores[0, :count].cpu().numpy()
    chosen = _best_of_each_class(
        recording.detections.labels[0, :count].cpu().numpy(), np.flatnonzero(scores >= score_threshold), objects
    )
    origin = _origins(recording, chosen, final / scale, kept)
    return Explanation(
        image=image,
        levels=recording.levels,
        theta=model.config.theta,
        objectness=[level.cells(objectness).max(axis=2) for level in recording.levels] if scored else None,
        kept=[level.cells(kept).sum(axis=2) for level in recording.levels],
        features=recording.features,
        moved=[_mean_move(anchors[level.slice], refined[level.slice], kept[level.slice]) for level in recording.levels],
        aligned=sorted(recording.points),
        objects=[
            _explained(
                recording, row, anchor, names, scale, anchors[anchor], refined[anchor], float(objectness[anchor])
            )
            for row, anchor in zip(chosen, origin, strict=True)
        ],
        detections=int((scores >= score_threshold).sum()),
    )


def _boxes(model: Detector, recording: Recording) -> tuple[Tensor, Tensor, Tensor]:
    """Tiled, refined and final boxes (A, 4), as fractions of the input."""
    outputs, variances = recording.outputs, model.config.variances
    arm_deltas = outputs.arm_deltas.float() if model.two_step else torch.zeros_like(outputs.arm_deltas).float()
    refined = rx.decode_boxes(arm_deltas, outputs.anchors, variances)[0]
    final = rx.decode_cascade(arm_deltas, outputs.odm_deltas.float(), outputs.anchors, variances)[0]
    return outputs.anchors, refined, final


def _best_of_each_class(labels: np.ndarray, rows: np.ndarray, count: int) -> list[int]:
    """So many of the rows, which are in order of score: the best of each class, then the second of each, and so on."""
    of_class: dict[int, list[int]] = {}
    for row in rows.tolist():
        of_class.setdefault(int(labels[row]), []).append(row)
    rounds = itertools.zip_longest(*of_class.values())
    turns = [row for one in rounds for row in one if row is not None]
    return sorted(turns[:count])


def _origins(recording: Recording, rows: Sequence[int], final: np.ndarray, kept: np.ndarray) -> list[int]:
    """The anchor of each of these detections: the one whose final box it is; of several, the likeliest of its class.

    RuntimeError if there is none, as with a detector that changes boxes after the decoding.
    """
    found = recording.detections
    probabilities = recording.outputs.odm_logits[0].float().softmax(-1).cpu().numpy()
    anchors = []
    for row in rows:
        box, label = found.boxes[0, row].double().cpu().numpy(), int(found.labels[0, row])
        distance = np.where(kept, np.abs(final - box).max(axis=1), np.inf)
        same = np.flatnonzero(distance <= SAME_BOX)
        if not len(same):
            raise RuntimeError(f"model: expected detections that are boxes of its anchors, got {box.tolist()}")
        anchors.append(int(same[probabilities[same, label].argmax()]))
    return anchors


def _explained(
    recording: Recording,
    row: int,
    anchor: int,
    names: Sequence[str],
    scale: np.ndarray,
    tiled: np.ndarray,
    refined: np.ndarray,
    objectness: float,
) -> ExplainedObject:
    found = recording.detections
    label = int(found.labels[0, row])
    index = level_of(recording.levels, anchor)
    level = recording.levels[index]
    cell = level.cell_of(anchor)
    points, regular = (
        level.fractions(maps[index][cell]) * scale[:2] if index in maps else None
        for maps in (recording.points, recording.regular)
    )
    return ExplainedObject(
        name=names[label - 1],
        label=label,
        score=float(found.scores[0, row]),
        box=found.boxes[0, row].double().cpu().numpy() * scale,
        level=index,
        row=cell[0],
        column=cell[1],
        anchor=tiled,
        refined=refined,
        objectness=objectness,
        points=points,
        regular=regular,
    )


def _mean_move(anchors: np.ndarray, refined: np.ndarray, kept: np.ndarray) -> float | None:
    if not kept.any():
        return None
    centers = [(boxes[kept, :2] + boxes[kept, 2:]) / 2 for boxes in (anchors, refined)]
    return float(np.linalg.norm(centers[1] - centers[0], axis=1).mean())


def _object_dict(one: ExplainedObject) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": one.label,
        "score": round(one.score, 4),
        "objectness": round(one.objectness, 4),
        "level": one.level,
        "row": one.row,
        "column": one.column,
        **{name: _rounded(getattr(one, name), 2) for name in ("box", "anchor", "refined")},
        "sampling_points": None if one.points is None else _rounded(one.points, 2),
        "sampling_points_without_offsets": None if one.regular is None else _rounded(one.regular, 2),
    }


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()
