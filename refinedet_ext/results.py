"""The named tuples that the ops return; the NumPy face fills them with arrays, the torch face with tensors."""

from __future__ import annotations

from typing import Any, NamedTuple


class Matches(NamedTuple):
    """What `match_anchors` returns.

    Attributes:
        labels: (B, A) int64, the class of each anchor; 0 is background, -1 is ignore.
        gt_index: (B, A) int64, the matched row of `gt_boxes`; -1 where labels <= 0.
        iou: (B, A) float32, the best overlap with a ground truth of the image that is not ignored; 0 without one.
    """

    labels: Any
    gt_index: Any
    iou: Any


class KeptAnchors(NamedTuple):
    """What `filter_anchors` returns.

    Attributes:
        index: (B, A) int64, the kept anchors in ascending order, then -1.
        count: (B,) int64, how many are kept.
    """

    index: Any
    count: Any


class KeptBoxes(NamedTuple):
    """What `batched_nms_padded` returns.

    Attributes:
        index: (N,) int64, the kept boxes by falling score, then -1.
        count: () int64, how many are kept.
    """

    index: Any
    count: Any


class MinedLoss(NamedTuple):
    """What `mined_cross_entropy` returns.

    Attributes:
        loss: (B,), the sum over the chosen anchors of each image.
        chosen: (B, A) bool, the positives and the mined negatives.
        positives: (B,) int64, how many positives are chosen.
        negatives: (B,) int64, how many negatives are chosen.
    """

    loss: Any
    chosen: Any
    positives: Any
    negatives: Any


class Detections(NamedTuple):
    """What `multiclass_nms` and `detect` return: K rows per image, the best score first, zeros after `count`.

    Attributes:
        boxes: (B, K, 4), (x1, y1, x2, y2).
        scores: (B, K).
        labels: (B, K) int64 in 1..C, 0 in the padding.
        count: (B,) int64, how many rows of each image are detections.
    """

    boxes: Any
    scores: Any
    labels: Any
    count: Any
