"""The detectors; importing this package fills the model registry."""

from __future__ import annotations

from . import refinedet_entries  # noqa: F401  (registers its models)
from .base import Detector
from .config import NMS_PRESETS, DetectorConfig, NMSConfig
from .refinedet import RefineDet, RefineDetConfig

__all__ = [
    "NMS_PRESETS",
    "Detector",
    "DetectorConfig",
    "NMSConfig",
    "RefineDet",
    "RefineDetConfig",
]
