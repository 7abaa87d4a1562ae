"""Detections of a batch from boxes and class scores, on NumPy arrays."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ..checks import METHODS, check_shape, check_suppression
from ..defaults import IOU_THRESHOLD, KEEP_TOP_K, METHOD, MIN_SCORE, SCORE_THRESHOLD, SIGMA, TOP_K, TOP_K_PER_CLASS
from ..results import Detections
from ._arrays import contiguous, floating, op

_multiclass_nms = op("multiclass_nms")


def multiclass_nms(
    boxes: ArrayLike,
    scores: ArrayLike,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> Detections:
    """As `refinedet_ext.multiclass_nms`, on arrays.

    Args:
        boxes: (B, A, 4), (x1, y1, x2, y2) in any unit.
        scores: (B, A, C), probabilities of the foreground classes.
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score: as there.

    Returns:
        Detections: of arrays, with keep_top_k rows an image, as there.

    Raises:
        TypeError: for a dtype that is not floating or a setting of the wrong type.
        ValueError: for shapes or settings that do not fit.

    Example:
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
