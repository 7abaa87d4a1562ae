"""Networks from files, in torch, ONNX Runtime and OpenVINO; the last two need no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .files import RUNTIMES, runtimes_of
    from .load import open_model
    from .model import RuntimeModel
    from .session import Session

__all__ = ["RUNTIMES", "RuntimeModel", "Session", "open_model", "runtimes_of"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".files": ("RUNTIMES", "runtimes_of"),
        ".load": ("open_model",),
        ".model": ("RuntimeModel",),
        ".session": ("Session",),
    },
)
