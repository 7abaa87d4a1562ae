"""What every kind of export asks of a model and its options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import check_choice, check_integer
from ..detectors import Detector
from ..folders import check_file
from ..model_info import PIXELS
from ..optimize import OptimizedDetector


def example_images(model: Any, input_size: int | None, batch_size: int, dynamic_batch: bool, pixels: str) -> Tensor:
    """Zeros (B, 3, H, W) as the network's file is to read them; TypeError or ValueError for what cannot be exported."""
    if not isinstance(model, Detector):
        raise TypeError(f"model: expected a refinedet.Detector, got {type(model).__name__}")
    if isinstance(model, OptimizedDetector):
        raise TypeError("model: expected the detector itself, got a copy that is optimized for this CPU")
    if model.training:
        raise ValueError("model: expected one in eval mode, got one in training mode; call model.eval() first")
    size = model.input_side(input_size)
    check_integer(batch_size, "batch_size", 1)
    check_choice(dynamic_batch, "dynamic_batch", (True, False))
    check_choice(pixels, "pixels", PIXELS)
    if dynamic_batch and batch_size < 2:
        raise ValueError(
            f"batch_size: expected 2 or more with dynamic_batch, as torch takes 1 for fixed, got {batch_size}"
        )
    parameter = next(model.parameters())
    if parameter.dtype != torch.float32:
        raise ValueError(f"model: expected weights in float32, got {parameter.dtype}")
    dtype = torch.uint8 if pixels == "uint8" else torch.float32
    return torch.zeros(batch_size, 3, size, size, dtype=dtype, device=parameter.device)


def check_path(path: str | os.PathLike[str], suffix: str) -> Path:
    """The path; ValueError unless it ends so, OSError where it cannot be written."""
    if Path(path).suffix != suffix:
        raise ValueError(f"path: expected a file name that ends in {suffix}, got {os.fspath(path)!r}")
    return check_file(path, "path")
