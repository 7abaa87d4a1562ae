"""Checkpoints of public implementations as files of this package."""

from __future__ import annotations

from .convert import SOURCES, convert_checkpoint
from .keys import Converted, KeyMap

__all__ = ["SOURCES", "Converted", "KeyMap", "convert_checkpoint"]
