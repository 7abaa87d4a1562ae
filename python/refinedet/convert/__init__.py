"""Checkpoints of public implementations as files of this package."""

from __future__ import annotations

from .backbones import BACKBONES, BackboneSource, convert_backbone
from .convert import DETECTORS, KNOWN_CLASSES, SOURCES, convert_checkpoint
from .keys import Converted, KeyMap

__all__ = [
    "BACKBONES",
    "DETECTORS",
    "KNOWN_CLASSES",
    "SOURCES",
    "BackboneSource",
    "Converted",
    "KeyMap",
    "convert_backbone",
    "convert_checkpoint",
]
