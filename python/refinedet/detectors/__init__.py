"""The detectors; importing this package fills the model registry."""

from __future__ import annotations

from ..nms_config import NMS_PRESETS, NMSConfig
from . import (  # noqa: F401  (they register their models)
    efgrnet_entries,
    padet_entries,
    refinedet_entries,
    refinedetlite_entries,
)
from .base import Detector
from .config import DetectorConfig
from .efgrnet import EFGRNet, EFGRNetConfig
from .padet import PADet, PADetConfig
from .refinedet import RefineDet, RefineDetConfig
from .refinedetlite import RefineDetLite, RefineDetLiteConfig

__all__ = [
    "NMS_PRESETS",
    "Detector",
    "DetectorConfig",
    "EFGRNet",
    "EFGRNetConfig",
    "NMSConfig",
    "PADet",
    "PADetConfig",
    "RefineDet",
    "RefineDetConfig",
    "RefineDetLite",
    "RefineDetLiteConfig",
]
