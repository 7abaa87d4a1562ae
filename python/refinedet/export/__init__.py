"""Detectors as files for other runtimes: torch.export programs and ONNX graphs."""

from __future__ import annotations

from .onnx_file import export_onnx
from .program import export_program

__all__ = ["export_onnx", "export_program"]
