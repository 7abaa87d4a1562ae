"""The whole inference tail in one call, on NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..checks import METHODS, check_clip_to, check_range, check_shape, check_suppression, check_variances
from ..defaults import (
    IOU_THRESHOLD,
    KEEP_TOP_K,
    METHOD,
    MIN_SCORE,
    SCORE_THRESHOLD,
    SIGMA,
    THETA,
    TOP_K,
    TOP_K_PER_CLASS,
    VARIANCES,
)
from ..results import Detections
from ._arrays import contiguous, floating, op

_detect = op("detect")


def detect(
    arm_logits: ArrayLike,
    arm_deltas: ArrayLike,
    odm_logits: ArrayLike,
    odm_deltas: ArrayLike,
    anchors: ArrayLike,
    *,
    theta: float = THETA,
    variances: tuple[float, float, float, float] = VARIANCES,
    clip_to: tuple[float, float] | None = None,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> Detections:
    """As `refinedet_ext.detect`, on arrays.

    Args:
        arm_logits: (B, A, 2), background then object.
        arm_deltas: (B, A, 4).
        odm_logits: (B, A, 1 + C), background first.
        odm_deltas: (B, A, 4).
        anchors: (A, 4), (x1, y1, x2, y2) in any one unit.
        theta, variances, clip_to: as there.
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score: as there.

    Returns:
        Detections: of arrays, float64 for float64 inputs, else float32.

    Raises:
        TypeError: for a dtype that is not floating or a setting of the wrong type.
        ValueError: for shapes or settings that do not fit.

    Example:
        >>> deltas = [[[0.0, 0.0, 0.0, 0.0]]]
        >>> found = detect([[[0.0, 2.0]]], deltas, [[[0.0, 0.0, 9.0]]], deltas, [[0.0, 0.0, 10.0, 10.0]], keep_top_k=2)
        >>> found.labels, found.count
        (array([[2, 0]]), array([1]))
    """
    sizes: dict[str, int] = {}
    tables = []
    for name, value, shape in (
        ("arm_logits", arm_logits, ("B", "A", 2)),
        ("arm_deltas", arm_deltas, ("B", "A", 4)),
        ("odm_logits", odm_logits, ("B", "A", "1 + C")),
        ("odm_deltas", odm_deltas, ("B", "A", 4)),
        ("anchors", anchors, ("A", 4)),
    ):
        array = floating(value, name)
        check_shape(array, name, shape, sizes)
        tables.append(array)
    if sizes["1 + C"] < 1:
        raise ValueError(f"odm_logits: expected shape (B, A, 1 + C), got {tables[2].shape}")
    *head, name, sigma, min_score = check_suppression(
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score
    )
    theta = check_range(theta, "theta", 0.0, 1.0)
    dtype = np.result_type(*(array.dtype for array in tables))
    tables = [contiguous(array, dtype) for array in tables]
    found = _detect(
        *tables,
        theta,
        check_variances(variances),
        check_clip_to(clip_to),
        *head,
        METHODS.index(name),
        sigma,
        min_score,
    )
    return Detections(*found)
