"""Prediction heads."""

from __future__ import annotations

from .box_heads import BoxHeads, flatten_maps
from .feature_guided import FeatureGuidedRefinement

__all__ = ["BoxHeads", "FeatureGuidedRefinement", "flatten_maps"]
