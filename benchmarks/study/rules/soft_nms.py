"""Soft suppression (Bodla et al. 2017): the best box is taken, the scores of the others are multiplied, and so on.

"linear": by 1 - IoU where the IoU with the box taken is above the threshold. "gaussian": by exp(-IoU^2 / sigma). A box
whose score is below min_score is dropped. Ties: the lower anchor. What stands around it is as for the hard suppression;
"after_hard" has that before it, with an IoU threshold of its own (the COCO path of RefineDet, in one reading).
"""

from __future__ import annotations

import math
from typing import Any

from .geometry import Box, iou
from .nms import multiclass, suppress


def run(given: dict[str, Any]) -> dict[str, Any]:
    def soft(boxes: list[Box], scores: list[float]) -> list[tuple[int, float]]:
        if "hard_iou" not in given:
            return soften(boxes, scores, given)
        kept = sorted(suppress(boxes, scores, given["hard_iou"]))
        softened = soften([boxes[row] for row in kept], [scores[row] for row in kept], given)
        return [(kept[place], score) for place, score in softened]

    return multiclass(given["boxes"], given["scores"], given, soft)


def soften(boxes: list[Box], scores: list[float], rules: dict[str, Any]) -> list[tuple[int, float]]:
    """The rows that are taken, in that order, with their scores at that moment."""
    scores = list(scores)
    left = list(range(len(boxes)))
    taken: list[tuple[int, float]] = []
    while True:
        left = [row for row in left if scores[row] >= rules["min_score"]]
        if not left:
            return taken
        row = min(left, key=lambda other: (-scores[other], other))
        left.remove(row)
        taken.append((row, scores[row]))
        for other in left:
            overlap = iou(boxes[row], boxes[other])
            if rules["method"] == "gaussian":
                scores[other] *= math.exp(-overlap * overlap / rules["sigma"])
            elif overlap > rules["iou_threshold"]:
                scores[other] *= 1 - overlap
