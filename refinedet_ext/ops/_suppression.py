"""What `multiclass_nms` and `detect` share on their way to the ops."""

from __future__ import annotations

from typing import Any

from ..checks import Suppression
from ..defaults import IOU_THRESHOLD, KEEP_TOP_K, METHOD, MIN_SCORE, SCORE_THRESHOLD, SIGMA, TOP_K, TOP_K_PER_CLASS

DEFAULTS: Suppression = (
    *(SCORE_THRESHOLD, IOU_THRESHOLD, TOP_K_PER_CLASS, TOP_K, KEEP_TOP_K),
    *(METHOD, SIGMA, MIN_SCORE),
)


def given(settings: Suppression) -> tuple[Any, ...]:
    """The settings without the last ones where they are the op's defaults: each costs a call a quarter microsecond."""
    if settings[5:] != DEFAULTS[5:]:
        return settings
    return settings[:5] if settings[:5] != DEFAULTS[:5] else ()
