"""Testing on several scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .multi_scale import RECIPES, MultiScale, Pass, multi_scale_detections
    from .voting import box_voting, soft_box_voting

__all__ = ["RECIPES", "MultiScale", "Pass", "box_voting", "multi_scale_detections", "soft_box_voting"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".multi_scale": (
            "RECIPES",
            "MultiScale",
            "Pass",
            "multi_scale_detections",
        ),
        ".voting": (
            "box_voting",
            "soft_box_voting",
        ),
    },
)
