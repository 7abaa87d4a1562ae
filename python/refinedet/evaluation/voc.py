"""PASCAL VOC average precision, after the official development kit (Everingham et al., IJCV 2010).

The kit walks over the detections of a class, best score first. Each looks at the object of its
class in its image that it overlaps most. Below the threshold it is a false positive. Above, a
difficult object makes it count neither way, a free object makes it a true positive, and an object
taken by a better detection makes it a false positive. Because a detection never looks at a second
object, the walk needs no loop: the first detection in order that names an object takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..boxes import box_iou
from .coco import as_records
from .ground_truth import GroundTruth
from .results import ImageDetections

Method = Literal["area", "11point"]


@dataclass(frozen=True)
class PrecisionRecall:
    """How one class fares as its score threshold falls: point i takes the best i + 1 detections.

    scores, precision, recall: (D,) float64, of all detections of the class that count, best first;
    detections that match a difficult or a crowd object count neither way and are left out.
    objects: positives, not difficult, not crowd; ignored: difficult and crowd objects; detections:
    all of them; true_positives, false_positives: how the D end up. Without objects, recall is nan.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    objects: int
    ignored: int
    detections: int
    true_positives: int
    false_positives: int


def voc_evaluate(
    ground_truth: GroundTruth | Mapping[str, Any] | str | Path,
    detections: Sequence[ImageDetections] | Sequence[Mapping[str, Any]],
    *,
    method: Method = "area",
    iou_threshold: float = 0.5,
    pixel_offset: float = 1.0,
    inclusive: bool = True,
) -> dict[str, Any]:
    """VOC mean average precision: method "11point" as in VOC 2007, "area" as from VOC 2010 on.

    ground_truth, detections: as for `coco_evaluate`. The other arguments: as for
    `precision_recall_curves` and `average_precision`.

    Returns plain JSON-able values: `kind` ("voc"), `mAP` in 0..1 (the mean over the classes that
    have objects; None without any), the options, `images`, `objects` (difficult ones left out),
    `detections`, and `per_class`: name to `AP` (None without objects), `objects`, `difficult` (and
    crowd), `detections`, `true_positives`, `false_positives`.
    """
    if method not in ("area", "11point"):
        raise ValueError(f"method: expected 'area' or '11point', got {method!r}")
    truth = GroundTruth.load(ground_truth)
    curves = precision_recall_curves(
        truth,
        detections,
        iou_threshold=iou_threshold,
        pixel_offset=pixel_offset,
        inclusive=inclusive,
    )
    per_class = {}
    for name, curve in curves.items():
        ap = average_precision(curve.recall, curve.precision, method) if curve.objects else None
        per_class[name] = {
            "AP": ap,
            "objects": curve.objects,
            "difficult": curve.ignored,
            "detections": curve.detections,
            "true_positives": curve.true_positives,
            "false_positives": curve.false_positives,
        }
    measured = [row["AP"] for row in per_class.values() if row["AP"] is not None]
    return {
        "kind": "voc",
        "mAP": float(np.mean(measured)) if measured else None,
        "method": method,
        "iou_threshold": iou_threshold,
        "pixel_offset": pixel_offset,
        "inclusive": inclusive,
        "images": len(truth.image_ids),
        "objects": sum(curve.objects for curve in curves.values()),
        "detections": sum(curve.detections for curve in curves.values()),
        "per_class": per_class,
    }


def precision_recall_curves(
    ground_truth: GroundTruth | Mapping[str, Any] | str | Path,
    detections: Sequence[ImageDetections] | Sequence[Mapping[str, Any]],
    *,
    iou_threshold: float = 0.5,
    pixel_offset: float = 1.0,
    inclusive: bool = True,
) -> dict[str, PrecisionRecall]:
    """The precision-recall curve of every class, by name, in the order of the labels.

    iou_threshold: in (0, 1]. pixel_offset: added to every width and height before overlaps are
    taken: 1 is the development kit's, whose coordinates name the first and the last pixel inside; 0
    is for boxes given by their edges, as COCO's. inclusive: an overlap equal to the threshold
    matches, as in the development kit; False asks for more than the threshold, as the Python port
    that came with Fast R-CNN does. Ties in score: the image that comes first in the ground truth,
    then the detection that comes first.
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected a number in (0, 1], got {iou_threshold}")
    if pixel_offset < 0:
        raise ValueError(f"pixel_offset: expected 0 or above, got {pixel_offset}")
    truth = GroundTruth.load(ground_truth)
    records = as_records(truth, detections)
    position = {image_id: i for i, image_id in enumerate(truth.image_ids)}
    records.sort(key=lambda record: position[record.image_id])
    # the empty arrays in front keep shape and type where there is no record
    image = np.concatenate([np.zeros(0, int), *(np.full(len(r), position[r.image_id]) for r in records)])
    boxes = np.concatenate([np.zeros((0, 4)), *(r.boxes for r in records)])
    scores = np.concatenate([np.zeros(0), *(r.scores for r in records)])
    labels = np.concatenate([np.zeros(0, int), *(r.labels for r in records)])
    ignored = truth.crowd | truth.difficult

    curves = {}
    for label, name in enumerate(truth.class_names, start=1):
        mine = np.flatnonzero(labels == label)
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        objects = np.flatnonzero(truth.labels == label)
        overlap, choice = _best_overlap(
            boxes[mine], image[mine], truth.boxes[objects], truth.image_index[objects], pixel_offset
        )
        near = overlap >= iou_threshold if inclusive else overlap > iou_threshold
        curves[name] = _curve(scores[mine], near, choice, ignored[objects])
    return curves


def average_precision(recall: np.ndarray, precision: np.ndarray, method: Method = "area") -> float:
    """The average precision of a curve whose recall ascends; (D,) and (D,), in 0..1.

    "area": the area under the precision envelope, the highest precision at this recall or beyond.
    "11point": the mean of the envelope at recall 0, 0.1, ..., 1. The development kit compares
    recall with a sum of floating-point tenths, which loses a point where recall is exactly 0.3, 0.6
    or 0.7; here a recall within 1e-9 of a tenth reaches it.
    """
    recall = np.asarray(recall, np.float64)
    precision = np.asarray(precision, np.float64)
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise ValueError(f"recall, precision: expected one shape (D,), got {recall.shape}, {precision.shape}")
    if recall.size == 0:
        return 0.0
    if (np.diff(recall) < 0).any():
        raise ValueError("recall: expected ascending values")
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if method == "area":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    if method == "11point":
        at = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)
        return float(np.sum(envelope[at[at < len(recall)]]) / 11)
    raise ValueError(f"method: expected 'area' or '11point', got {method!r}")


def _curve(scores: np.ndarray, near: np.ndarray, choice: np.ndarray, ignored: np.ndarray) -> PrecisionRecall:
    """scores (D,) descending; near (D,) whether the overlap suffices with object choice (D,)."""
    neutral = near.copy()
    neutral[near] = ignored[choice[near]]
    hits = np.flatnonzero(near & ~neutral)
    true = np.zeros(len(scores), bool)
    true[hits[np.unique(choice[hits], return_index=True)[1]]] = True
    counted = ~neutral
    tp = np.cumsum(true[counted])
    total = np.arange(1, len(tp) + 1)
    positives = int((~ignored).sum())
    with np.errstate(invalid="ignore"):
        recall = tp / np.float64(positives)
    right = int(true.sum())
    return PrecisionRecall(
        scores=scores[counted],
        precision=tp / total,
        recall=recall,
        objects=positives,
        ignored=len(ignored) - positives,
        detections=len(scores),
        true_positives=right,
        false_positives=len(tp) - right,
    )


def _best_overlap(
    boxes: np.ndarray,
    image: np.ndarray,
    objects: np.ndarray,
    object_image: np.ndarray,
    pixel_offset: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Per box (D, 4), the highest IoU (D,) with an object (G, 4) of its image, and which (D,).

    Only pairs within an image are formed. Ties go to the first object; without one: 0 and -1.
    """
    best = np.zeros(len(boxes))
    choice = np.full(len(boxes), -1)
    order = np.argsort(object_image, kind="stable")
    ordered = object_image[order]
    first = np.searchsorted(ordered, image, side="left")
    count = np.searchsorted(ordered, image, side="right") - first
    rows = np.flatnonzero(count)
    if rows.size == 0:
        return best, choice
    count, first = count[rows], first[rows]
    start = np.cumsum(count) - count  # where the pairs of each box begin
    pair_box = np.repeat(rows, count)
    pair_object = order[np.arange(count.sum()) - np.repeat(start - first, count)]
    iou = box_iou(boxes[pair_box], objects[pair_object], pixel=pixel_offset)
    best[rows] = np.maximum.reduceat(iou, start)
    winners = np.flatnonzero(iou == np.repeat(best[rows], count))
    boxes_of, at = np.unique(pair_box[winners], return_index=True)
    choice[boxes_of] = pair_object[winners[at]]
    return best, choice
