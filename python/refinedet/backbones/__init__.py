"""Backbones: networks that turn images into maps at several strides."""

from __future__ import annotations

from .base import Backbone
from .small import SmallNet
from .vgg import VGG16

__all__ = ["VGG16", "Backbone", "SmallNet"]
