"""Detections of a whole data set beside its objects: which overlap, and which find which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..boxes import box_areas, box_iou
from ..evaluation import GroundTruth, ImageDetections
from ..evaluation.coco import as_records

STRONG, WEAK = 0.5, 0.1
"""Overlaps from which a detection finds an object, and from which it has to do with one at all."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO's average precision looks at a curve."""


@dataclass(frozen=True)
class Scene:
    """D detections, the best score first, G objects, and the P pairs of them that overlap.

    truth: the objects. ignored: (G,) bool, difficult objects and crowds, which nobody has to find. image (D,) int64:
    index into truth.image_ids; boxes (D, 4) float64 in pixels; scores (D,) float64; labels (D,) int64. Of equal scores
    the image that comes first in the ground truth goes first, then the detection that comes first.

    pair_detection, pair_object: (P,) int64; pair_iou: (P,) float64 above 0, for a crowd the share of the detection that
    lies in it, as COCO has it. Ordered by detection, then by falling overlap, then by object.
    """

    truth: GroundTruth
    ignored: np.ndarray
    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    pair_detection: np.ndarray
    pair_object: np.ndarray
    pair_iou: np.ndarray

    @staticmethod
    def of(truth: GroundTruth, detections: Sequence[ImageDetections]) -> Scene:
        """Of the records of images, each at most once; images without one have no detections. Raises ValueError for a
        record that does not fit the ground truth."""
        records = as_records(truth, detections)
        position = {image_id: i for i, image_id in enumerate(truth.image_ids)}
        records.sort(key=lambda record: position[record.image_id])
        # the empty arrays in front keep shape and type where there is no record
        image = np.concatenate([np.zeros(0, np.int64), *(np.full(len(r), position[r.image_id]) for r in records)])
        boxes = np.concatenate([np.zeros((0, 4)), *(r.boxes for r in records)])
        scores = np.concatenate([np.zeros(0), *(r.scores for r in records)])
        labels = np.concatenate([np.zeros(0, np.int64), *(r.labels for r in records)])
        order = np.argsort(-scores, kind="stable")
        image, boxes, scores, labels = image[order], boxes[order], scores[order], labels[order]
        pairs = _pairs(truth, image, boxes)
        return Scene(truth, truth.crowd | truth.difficult, image, boxes, scores, labels, *pairs)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def class_names(self) -> list[str]:
        """The C classes; label i is class_names[i - 1]."""
        return self.truth.class_names

    @property
    def objects_per_class(self) -> np.ndarray:
        """(C + 1,) int64: objects to find, by label."""
        return np.bincount(self.truth.labels[~self.ignored], minlength=len(self.class_names) + 1)

    @property
    def same_class(self) -> np.ndarray:
        """(P,) bool: pairs whose classes are one."""
        same: np.ndarray = self.labels[self.pair_detection] == self.truth.labels[self.pair_object]
        return same

    @property
    def to_find(self) -> np.ndarray:
        """(P,) bool: pairs with an object that is not ignored."""
        return ~self.ignored[self.pair_object]

    def best(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each detection, the highest overlap among some pairs (P,) bool: (D,) float64, 0 without one, and its
        object (D,) int64, -1 without one."""
        overlap, objects = np.zeros(len(self)), np.full(len(self), -1)
        rows = np.flatnonzero(pairs)
        found, first = np.unique(self.pair_detection[rows], return_index=True)
        overlap[found] = self.pair_iou[rows[first]]
        objects[found] = self.pair_object[rows[first]]
        return overlap, objects


@dataclass(frozen=True)
class Matching:
    """object_of (D,) int64: the object that a detection finds, -1 for none. found_by (G,) int64: the detection that
    finds an object, -1 for none. neutral (D,) bool: finds nothing but lies on an ignored object of its class, so that
    it counts neither way."""

    object_of: np.ndarray
    found_by: np.ndarray
    neutral: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """(D,) bool."""
        found: np.ndarray = self.object_of >= 0
        return found

    @property
    def wrong(self) -> np.ndarray:
        """(D,) bool: false positives."""
        return ~self.correct & ~self.neutral


def match(scene: Scene, threshold: float = STRONG) -> Matching:
    """Who finds whom, by COCO's rule: each detection, the best score first, takes the object of its class that it
    overlaps most among those that nobody has taken, where that overlap is at least `threshold`."""
    same = scene.same_class & (scene.pair_iou >= threshold)
    rows = np.flatnonzero(same & scene.to_find)
    object_of, found_by = np.full(len(scene), -1), np.full(len(scene.truth), -1)
    take(scene, rows, object_of, found_by)
    on_ignored = np.zeros(len(scene), bool)
    on_ignored[scene.pair_detection[same & ~scene.to_find]] = True
    return Matching(object_of, found_by, on_ignored & (object_of < 0))


def take(scene: Scene, rows: np.ndarray, object_of: np.ndarray, found_by: np.ndarray) -> None:
    """Goes through some pairs in their order and joins those of which both are free; changes the two arrays."""
    for detection, item in zip(scene.pair_detection[rows].tolist(), scene.pair_object[rows].tolist(), strict=True):
        if object_of[detection] < 0 and found_by[item] < 0:
            object_of[detection], found_by[item] = item, detection


def coco_average_precision(correct: np.ndarray, objects: int) -> float:
    """COCO's average precision, the mean at 101 recalls, of detections (N,) bool, best first; `objects` above 0."""
    if len(correct) == 0:
        return 0.0
    found = np.cumsum(correct)
    precision = found / np.arange(1, len(correct) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / objects, RECALLS, side="left")
    return float(envelope[at[at < len(envelope)]].sum() / len(RECALLS))


def _pairs(truth: GroundTruth, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    by_image = np.argsort(truth.image_index, kind="stable")
    ordered = truth.image_index[by_image]
    first = np.searchsorted(ordered, image, side="left")
    count = np.searchsorted(ordered, image, side="right") - first
    detection = np.repeat(np.arange(len(image)), count)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    item = by_image[np.repeat(first, count) + within]
    overlap = box_iou(boxes[detection], truth.boxes[item])
    crowd = truth.crowd[item]
    overlap[crowd] = _share_inside(boxes[detection[crowd]], truth.boxes[item[crowd]])
    some = overlap > 0
    detection, item, overlap = detection[some], item[some], overlap[some]
    order = np.lexsort((item, -overlap, detection))
    return detection[order], item[order], overlap[order]


def _share_inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The share of each box (N, 4) that lies in the region (N, 4) in its place; 0 of a box without area."""
    corner = np.maximum(boxes[:, :2], regions[:, :2])
    sides = np.clip(np.minimum(boxes[:, 2:], regions[:, 2:]) - corner, 0.0, None)
    area = box_areas(boxes)
    share: np.ndarray = np.divide(sides.prod(axis=1), area, out=np.zeros(len(boxes)), where=area > 0)
    return share
