"""Hard suppression and what stands around it (Caffe's DetectionOutput).

Per class: scores above the threshold, by falling score, the best top_k_per_class of them; from the best on, a box is
kept unless its IoU with a kept one is above the threshold. Then the best keep_top_k of the image over all classes. The
paper's text has a limit over all classes before the suppression, too (top_k). Ties: the lower class, then the lower
anchor. Detection ("detect") has both stages' outputs before it: an anchor that does not pass the filter has no score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .coding import decode
from .filtering import passes_filter
from .geometry import Box, iou

Suppress = Callable[[list[Box], list[float]], list[tuple[int, float]]]


def run(given: dict[str, Any]) -> dict[str, Any]:
    def hard(boxes: list[Box], scores: list[float]) -> list[tuple[int, float]]:
        return [(row, scores[row]) for row in suppress(boxes, scores, given["iou_threshold"])]

    if given["of"] == "nms":
        return {"kept": suppress(given["boxes"], given["scores"], given["iou_threshold"], given.get("groups"))}
    if given["of"] == "detect":
        boxes, scores = two_stage_scores(given)
        return multiclass(boxes, scores, given, hard)
    return multiclass(given["boxes"], given["scores"], given, hard)


def suppress(boxes: list[Box], scores: list[float], threshold: float, groups: list[int] | None = None) -> list[int]:
    """groups: where given, only boxes of the same one suppress each other."""
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: (-scores[row], row)):
        rivals = [other for other in kept if groups is None or groups[other] == groups[row]]
        if all(iou(boxes[row], boxes[other]) <= threshold for other in rivals):
            kept.append(row)
    return kept


def multiclass(
    boxes: list[Box], scores: list[list[float]], limits: dict[str, Any], suppress_class: Suppress
) -> dict[str, Any]:
    """scores: [anchor][class], without background. Detections by falling score."""
    candidates: list[tuple[float, int, int]] = []  # score, class, anchor
    for c in range(len(scores[0]) if scores else 0):
        rows = [(row[c], c, a) for a, row in enumerate(scores) if row[c] > limits["score_threshold"]]
        candidates += best(rows, limits.get("top_k_per_class"))
    candidates = best(candidates, limits.get("top_k"))
    found: list[tuple[float, int, int]] = []
    for c in sorted({c for _, c, _ in candidates}):
        rows_of_class = sorted(a for _, other, a in candidates if other == c)
        survivors = suppress_class([boxes[a] for a in rows_of_class], [scores[a][c] for a in rows_of_class])
        found += [(score, c, rows_of_class[place]) for place, score in survivors]
    found = best(found, limits["keep_top_k"])
    return {
        "boxes": [list(boxes[a]) for _, _, a in found],
        "scores": [score for score, _, _ in found],
        "labels": [c + 1 for _, c, _ in found],
    }


def best(rows: list[tuple[float, int, int]], limit: int | None) -> list[tuple[float, int, int]]:
    ranked = sorted(rows, key=lambda row: (-row[0], row[1], row[2]))
    return ranked if limit is None else ranked[:limit]


def two_stage_scores(given: dict[str, Any]) -> tuple[list[Box], list[list[float]]]:
    """Boxes of the second stage, and the classes' scores of the anchors that pass, 0 for the others."""
    boxes: list[Box] = []
    scores = []
    for a, anchor in enumerate(given["anchors"]):
        refined = decode(given["arm_deltas"][a], anchor, given["variances"])
        boxes.append(decode(given["odm_deltas"][a], refined, given["variances"]))
        exponentials = [math.exp(logit - max(given["odm_logits"][a])) for logit in given["odm_logits"][a]]
        passes = passes_filter(given["arm_logits"][a], given["theta"])
        scores.append([value / sum(exponentials) if passes else 0.0 for value in exponentials[1:]])
    return boxes, scores
