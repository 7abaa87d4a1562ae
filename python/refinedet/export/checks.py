"""What both kinds of export ask of a model and of the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import check_integer
from ..detectors import Detector
from ..optimize import OptimizedDetector


def example_images(model: Any, input_size: int | None, batch_size: int) -> Tensor:
    """Zeros (B, 3, H, W) as the model reads them; TypeError or ValueError for what cannot be exported."""
    if not isinstance(model, Detector):
        raise TypeError(f"model: expected a refinedet.Detector, got {type(model).__name__}")
    if isinstance(model, OptimizedDetector):
        raise TypeError("model: expected the detector itself, got a copy that is optimized for this CPU")
    if model.training:
        raise ValueError("model: expected one in eval mode, got one in training mode; call model.eval() first")
    size = model.input_side(input_size)
    check_integer(batch_size, "batch_size", 1)
    parameter = next(model.parameters())
    return torch.zeros(batch_size, 3, size, size, dtype=parameter.dtype, device=parameter.device)
