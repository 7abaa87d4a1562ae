"""The settings that `multiclass_nms` and `detect` share, checked; for the torch and the NumPy face."""

from __future__ import annotations

import math

from .checks import check_choice, check_count, check_range

METHODS = ("hard", "linear", "gaussian")

Settings = tuple[float, float, int | None, int | None, int, str, float, float]


def check_suppression(
    score_threshold: float,
    iou_threshold: float,
    top_k_per_class: int | None,
    top_k: int | None,
    keep_top_k: int,
    method: str,
    sigma: float,
    min_score: float,
) -> Settings:
    """The settings in the order in which the ops take them."""
    check_range(score_threshold, "score_threshold")
    check_range(iou_threshold, "iou_threshold", 0.0, 1.0)
    if top_k_per_class is not None:
        check_count(top_k_per_class, "top_k_per_class", 1)
    if top_k is not None:
        check_count(top_k, "top_k", 1)
    check_count(keep_top_k, "keep_top_k")
    check_choice(method, "method", METHODS)
    check_range(sigma, "sigma", 0.0, math.inf, open_low=True)
    check_range(min_score, "min_score", 0.0)
    return score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score
