"""Prediction heads."""

from __future__ import annotations

from .box_heads import BoxHeads, flatten_maps
from .feature_alignment import FeatureAlignment
from .feature_guided import FeatureGuidedRefinement
from .light_head import LightHead

__all__ = ["BoxHeads", "FeatureAlignment", "FeatureGuidedRefinement", "LightHead", "flatten_maps"]
