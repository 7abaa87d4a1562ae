"""What `refinedet_ext` says to the vectors: every op on torch tensors, on NumPy arrays, and its plain reference.

An implementation takes what a vector gives and returns what its rule returns, or None where the vector is not for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

SINGLE = 2e-6  # of max(1, |value|): a few roundings of float32
DOUBLE = 1e-12
Run = Callable[[dict[str, Any]], "dict[str, Any] | None"]


@dataclass(frozen=True)
class Implementation:
    """tolerance: how far its numbers may be from the vector's, as a part of max(1, |value|); indices, labels and counts
    are compared exactly."""

    name: str
    run: Run
    tolerance: float


class Face:
    """A namespace of ops, called with lists, in one dtype."""

    def __init__(self, name: str, ops: Any, dtype: str) -> None:
        self.name, self.ops, self.dtype = name, ops, dtype
        self.tolerance = DOUBLE if dtype == "float64" else SINGLE

    def has(self, op: str) -> bool:
        return hasattr(self.ops, op)

    def array(self, values: Any, columns: int | None = None, dtype: str | None = None) -> Any:
        """columns: the last axis, which an empty list does not show."""
        array = np.array(values, dtype or self.dtype)
        if columns is not None and array.size == 0:
            array = array.reshape(*array.shape, columns)
        return array if self.ops is rxn else torch.from_numpy(array)

    def whole(self, values: Any) -> Any:
        return self.array(values, dtype="int64")


# The ops are looked up at each call: a test puts a broken one in their place.
FACES = (
    Face("torch float32", rx, "float32"),
    Face("torch float64", rx, "float64"),
    Face("NumPy float32", rxn, "float32"),
    Face("NumPy float64", rxn, "float64"),
    Face("reference float64", rx.reference, "float64"),
)


OnFace = Callable[[Face, dict[str, Any]], "dict[str, Any] | None"]


def of_faces(run: OnFace, *, tolerance: float | None = None) -> list[Implementation]:
    """One and the same call on every face; tolerance: None is that of the face's dtype."""

    def bound(face: Face) -> Implementation:
        return Implementation(face.name, lambda given: run(face, given), tolerance or face.tolerance)

    return [bound(face) for face in FACES]


def match(face: Face, given: dict[str, Any]) -> dict[str, Any]:
    images = given["images"]
    boxes = [box for image in images for box in image["boxes"]]
    offsets = [0]
    for image in images:
        offsets.append(offsets[-1] + len(image["boxes"]))
    ignore = [flag for image in images for flag in image.get("ignore", [False] * len(image["boxes"]))]
    found = face.ops.match_anchors(
        face.array(given.get("anchors_per_image", given.get("anchors")), 4),
        face.array(boxes, 4),
        face.whole([label for image in images for label in image["labels"]]),
        face.whole(offsets),
        gt_ignore=face.array(ignore, dtype="bool") if any("ignore" in image for image in images) else None,
        **{name: given[name] for name in ("positive_iou", "negative_iou", "force_match", "ignore_iof")},
    )
    return lists(labels=found.labels, gt_index=found.gt_index, iou=found.iou)


def filter_(face: Face, given: dict[str, Any]) -> dict[str, Any] | None:
    if given["of"] != "detect":
        return None
    logits = [[row if len(row) == 2 else [0.0, *row] for row in image] for image in given["logits"]]
    logits = face.array(logits, 2)
    kept = face.ops.filter_anchors(logits, given["theta"])
    result = lists(passes=face.ops.filter_anchors_mask(logits, given["theta"]), count=kept.count)
    rows = zip(kept.index.tolist(), result["count"], strict=True)
    return {**result, "index": [row[:count] for row, count in rows]}


def mine(face: Face, given: dict[str, Any]) -> dict[str, Any] | None:
    if not face.has("mine_hard_negatives") or not by_op(given):
        return None
    chosen = face.ops.mine_hard_negatives(face.array(given["loss"]), face.whole(given["labels"]), **quota(face, given))
    return lists(chosen=chosen, count=chosen.sum(1))


def mine_by_loss(face: Face, given: dict[str, Any]) -> dict[str, Any] | None:
    """The same choice by the op that takes the loss itself: of logits whose cross entropy is the loss given."""
    if not face.has("mined_cross_entropy") or not by_op(given):
        return None
    logits = [[[0.0, math.log(math.expm1(loss)) if loss else -math.inf] for loss in row] for row in given["loss"]]
    labels = face.whole(given["labels"])
    mined = face.ops.mined_cross_entropy(face.array(logits, 2), labels.clamp(max=1), **quota(face, given))
    return lists(chosen=mined.chosen & (labels == 0), count=mined.negatives)


def by_op(given: dict[str, Any]) -> bool:
    """Whether the rule is that of the op; the others are the detectors'."""
    return given["ratio"] != "all" and "empty_batch_negatives" not in given


def quota(face: Face, given: dict[str, Any]) -> dict[str, Any]:
    eligible = face.array(given["eligible"], dtype="bool") if "eligible" in given else None
    return {"ratio": given["ratio"], "min_negatives": given.get("min_negatives", 0), "eligible": eligible}


def code(face: Face, given: dict[str, Any]) -> dict[str, Any]:
    anchors, variances = face.array(given["anchors"], 4), tuple(given["variances"])
    if given["of"] == "encode":
        return lists(deltas=face.ops.encode_boxes(face.array(given["boxes"], 4), anchors, variances))
    if given["of"] == "decode":
        clip_to = tuple(given["clip_to"]) if "clip_to" in given else None
        return lists(boxes=face.ops.decode_boxes(face.array(given["deltas"], 4), anchors, variances, clip_to=clip_to))
    kept = None
    if "kept" in given:
        padded = [rows + [-1] * (len(anchors) - len(rows)) for rows in given["kept"]]
        kept = rx.KeptAnchors(face.whole(padded), face.whole([len(rows) for rows in given["kept"]]))
    first, second = face.array(given["arm_deltas"], 4), face.array(given["odm_deltas"], 4)
    return lists(boxes=face.ops.decode_cascade(first, second, anchors, variances, kept=kept))


LIMITS = ("score_threshold", "iou_threshold", "top_k_per_class", "top_k", "keep_top_k", "method", "sigma", "min_score")


def suppress(face: Face, given: dict[str, Any]) -> dict[str, Any] | None:
    """Hard and soft suppression."""
    if given.get("hard_iou") is not None:
        return None
    if given.get("of") == "nms":
        boxes, scores = face.array(given["boxes"], 4), face.array(given["scores"])
        if "groups" in given:
            kept = face.ops.batched_nms(boxes, scores, face.whole(given["groups"]), given["iou_threshold"])
        else:
            kept = face.ops.nms(boxes, scores, given["iou_threshold"])
        return lists(kept=kept)
    limits = {name: given[name] for name in LIMITS if name in given}
    limits.setdefault("top_k", None)
    if given.get("of") == "detect":
        tables = [face.array([given[name]]) for name in ("arm_logits", "arm_deltas", "odm_logits", "odm_deltas")]
        variances = tuple(given["variances"])
        anchors = face.array(given["anchors"], 4)
        found = face.ops.detect(*tables, anchors, theta=given["theta"], variances=variances, **limits)
    else:
        scores = face.array([given["scores"]], given.get("classes"))
        found = face.ops.multiclass_nms(face.array([given["boxes"]], 4), scores, **limits)
    return first_image(found)


def first_image(found: Any) -> dict[str, Any]:
    count = int(found.count[0])
    rest = [values[0, count:] for values in (found.boxes, found.scores, found.labels)]
    if any((values != 0).any() for values in rest):
        raise AssertionError("detections: expected 0 behind count")
    return lists(boxes=found.boxes[0, :count], scores=found.scores[0, :count], labels=found.labels[0, :count])


def lists(**arrays: Any) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}
