"""The whole inference tail in one call, on NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._suppression import METHODS, check_suppression
from ..checks import check_clip_to, check_range, check_shape, check_variances
from ..results import Detections
from ._arrays import VARIANCES, contiguous, floating, op

_detect = op("detect")


def detect(
    arm_logits: ArrayLike,
    arm_deltas: ArrayLike,
    odm_logits: ArrayLike,
    odm_deltas: ArrayLike,
    anchors: ArrayLike,
    *,
    theta: float = 0.99,
    variances: tuple[float, float, float, float] = VARIANCES,
    clip_to: tuple[float, float] | None = None,
    score_threshold: float = 0.01,
    iou_threshold: float = 0.45,
    top_k_per_class: int | None = None,
    top_k: int | None = 400,
    keep_top_k: int = 200,
    method: str = "hard",
    sigma: float = 0.5,
    min_score: float = 0.001,
) -> Detections:
    """As `refinedet_ext.detect`, on arrays; returns Detections of arrays, float64 for float64 inputs, else float32.

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
    check_range(theta, "theta", 0.0, 1.0)
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
