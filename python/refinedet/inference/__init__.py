"""Testing on several scales."""

from __future__ import annotations

from .multi_scale import RECIPES, MultiScale, Pass, multi_scale_detections
from .voting import box_voting, soft_box_voting

__all__ = ["RECIPES", "MultiScale", "Pass", "box_voting", "multi_scale_detections", "soft_box_voting"]
