"""Whole networks made fast for inference on a CPU."""

from __future__ import annotations

from .detector import OptimizedDetector, optimize_for_inference
from .machine import CHOICES
from .report import OptimizationReport

__all__ = ["CHOICES", "OptimizationReport", "OptimizedDetector", "optimize_for_inference"]
