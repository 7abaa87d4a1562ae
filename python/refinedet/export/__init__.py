"""Detectors as files for other runtimes: torch.export programs, compiled packages and ONNX graphs."""

from __future__ import annotations

from .aot import export_aot
from .onnx_file import export_onnx
from .program import export_program

__all__ = ["export_aot", "export_onnx", "export_program"]
