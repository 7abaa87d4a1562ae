"""Prediction heads."""

from __future__ import annotations

from .box_heads import BoxHeads, flatten_maps

__all__ = ["BoxHeads", "flatten_maps"]
