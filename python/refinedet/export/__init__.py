"""Detectors as files for other runtimes: torch.export programs, compiled packages, ONNX graphs, OpenVINO's files."""

from __future__ import annotations

from .aot import export_aot
from .efficient_nms import export_efficient_nms
from .int8 import Int8Check, export_int8
from .onnx_file import export_onnx
from .openvino_file import export_openvino
from .program import export_program
from .verify import Check

__all__ = [
    "Check",
    "Int8Check",
    "export_aot",
    "export_efficient_nms",
    "export_int8",
    "export_onnx",
    "export_openvino",
    "export_program",
]
