"""Box voting: overlapping detections of one class become their mean (the test code of RefineDet)."""

from __future__ import annotations

import numpy as np

from ..boxes import box_iou

VOTE_IOU = 0.45


def box_voting(
    boxes: np.ndarray, scores: np.ndarray, *, iou_threshold: float = VOTE_IOU
) -> tuple[np.ndarray, np.ndarray]:
    """Detections of one class of one image, each cluster replaced by one box.

    The best box gathers all that overlap it by at least iou_threshold; their mean, weighted with the scores, takes
    their place with the best score. Then the best of the rest, and so on.

    boxes: (N, 4) in pixels; sides count with one pixel more, as in that code. scores: (N,).
    Returns boxes (K, 4) float64 and scores (K,) by falling score; equal scores in the order given.
    """
    return _vote(boxes, scores, iou_threshold, None)


def soft_box_voting(
    boxes: np.ndarray, scores: np.ndarray, *, iou_threshold: float = VOTE_IOU, min_score: float = 0.01
) -> tuple[np.ndarray, np.ndarray]:
    """As `box_voting`, but the members of a cluster stay beside the mean with their scores times 1 - IoU with its best
    box, where that is at least min_score: boxes of other objects in a crowd survive."""
    return _vote(boxes, scores, iou_threshold, min_score)


def _vote(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, min_score: float | None
) -> tuple[np.ndarray, np.ndarray]:
    boxes, scores = np.asarray(boxes, np.float64), np.asarray(scores, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes: expected shape (N, 4), got {boxes.shape}")
    if scores.shape != (len(boxes),):
        raise ValueError(f"scores: expected shape ({len(boxes)},), got {scores.shape}")
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    voted_boxes, voted_scores = [np.zeros((0, 4))], [np.zeros(0)]
    while len(boxes):
        overlap = box_iou(boxes[0], boxes, pixel=1.0)
        overlap[0] = 1.0  # the best box is a member, also one without area
        inside = overlap >= iou_threshold
        members, weights = boxes[inside], scores[inside]
        total = weights.sum()
        if len(members) > 1 and total > 0:
            voted_boxes.append((members * weights[:, None]).sum(0, keepdims=True) / total)
            voted_scores.append(weights[:1])
            if min_score is not None:
                softened = weights * (1 - overlap[inside])
                stay = softened >= min_score
                voted_boxes.append(members[stay])
                voted_scores.append(softened[stay])
        else:
            voted_boxes.append(members)
            voted_scores.append(weights)
        boxes, scores = boxes[~inside], scores[~inside]
    boxes, scores = np.concatenate(voted_boxes), np.concatenate(voted_scores)
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order]
