"""A network that computes NaN finds nothing, and nobody is told why: here it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import refinedet_ext as rx

    from ..detectors import Detector
    from ..outputs import HeadOutputs


def check_finite_weights(model: nn.Module, source: str = "model") -> None:
    """ValueError, naming the tensors, if weights or statistics of a model are NaN or infinite."""
    bad = [
        name
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ValueError(
            f"{source}: expected finite weights, got NaN or infinity in {', '.join(bad[:3])}{more}; "
            "the training that made them has diverged"
        )


@torch.inference_mode()
def detect_finite(model: Detector, images: Tensor) -> rx.Detections:
    """What `model(images)` gives in eval mode, for images (B, 3, H, W) uint8 in BGR order.

    FloatingPointError where the network overflows.
    """
    return model.detect(finite_outputs(model, images))


def finite_outputs(model: Detector, images: Tensor) -> HeadOutputs:
    """The raw outputs for images (B, 3, H, W) uint8 in BGR order; FloatingPointError where the network overflows."""
    dtype = next(model.parameters()).dtype
    outputs = model.head_outputs(model.normalization.apply(images).to(dtype))
    for name, value in zip(outputs._fields, outputs, strict=True):
        if not torch.isfinite(value).all():
            raise FloatingPointError(
                f"model: its {name} hold NaN or infinity, though its weights ({dtype}) are "
                "finite: the network overflows"
            )
    return outputs
