"""The settings that `multiclass_nms` and `detect` share, checked; for the torch and the NumPy face."""

from __future__ import annotations

import math
from typing import Any

from .checks import check_choice, check_count, check_range

METHODS = ("hard", "linear", "gaussian")

Settings = tuple[float, float, int | None, int | None, int, str, float, float]

DEFAULTS: Settings = (0.01, 0.45, None, 400, 200, "hard", 0.5, 0.001)  # also those of the ops' schemas


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
    """The settings in the order in which the ops take them, as Python's own numbers."""
    return (
        check_range(score_threshold, "score_threshold"),
        check_range(iou_threshold, "iou_threshold", 0.0, 1.0),
        None if top_k_per_class is None else check_count(top_k_per_class, "top_k_per_class", 1),
        None if top_k is None else check_count(top_k, "top_k", 1),
        check_count(keep_top_k, "keep_top_k"),
        check_choice(method, "method", METHODS),
        check_range(sigma, "sigma", 0.0, math.inf, open_low=True),
        check_range(min_score, "min_score", 0.0),
    )


def given(settings: tuple[Any, ...]) -> tuple[Any, ...]:
    """The settings for an op, unchecked, without the last ones where they are its defaults.

    Each costs a call a quarter of a microsecond. TypeError where they are to be converted.
    """
    if settings == DEFAULTS:
        return ()
    kinds = tuple(map(type, settings))
    if kinds[5:] == (str, float, float) and kinds[:5] in _KINDS:
        return settings[:5] if settings[5:] == DEFAULTS[5:] else settings
    raise TypeError


_KINDS = {(float, float, per_class, of_image, int) for per_class in (int, type(None)) for of_image in (int, type(None))}
