"""Detections of a batch from boxes and class scores, on NumPy arrays."""

from __future__ import annotations

from numpy.typing import ArrayLike

from .._suppression import METHODS, check_suppression
from ..checks import check_shape
from ..results import Detections
from ._arrays import contiguous, floating, op

_multiclass_nms = op("multiclass_nms")


def multiclass_nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.45,
    top_k_per_class: int | None = None,
    top_k: int | None = 400,
    keep_top_k: int = 200,
    method: str = "hard",
    sigma: float = 0.5,
    min_score: float = 0.001,
) -> Detections:
    """As `refinedet_ext.multiclass_nms`, on arrays: boxes (B, A, 4), scores (B, A, C); returns Detections of arrays.

    >>> found = multiclass_nms([[[0, 0, 4, 4], [0, 0, 4, 3]]], [[[0.9, 0.2], [0.8, 0.0]]], keep_top_k=3)
    >>> found.labels, found.count
    (array([[1, 2, 0]]), array([2]))
    """
    sizes: dict[str, int] = {}
    x, s = floating(boxes, "boxes"), floating(scores, "scores")
    check_shape(x, "boxes", ("B", "A", 4), sizes)
    check_shape(s, "scores", ("B", "A", "C"), sizes)
    *head, name, sigma, min_score = check_suppression(
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score
    )
    found = _multiclass_nms(
        contiguous(x, x.dtype), contiguous(s, s.dtype), *head, METHODS.index(name), sigma, min_score
    )
    return Detections(*found)
