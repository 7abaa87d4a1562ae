"""The network's side of a `Predictor`: decoded images in, records in their pixels out.

Whatever is called with images, (H, W, 3) uint8 in BGR order of any sizes, and returns an `ImageDetections` for each, is
such a side; these two run a detector in torch, `refinedet.runtimes` has those of other runtimes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..checks import check_choice
from ..data.image_io import resize_image
from ..evaluation.results import ImageDetections, from_padded
from ..optimize import optimize_for_inference
from ..structures import to_tensor
from .finite import check_finite_weights, detect_finite
from .multi_scale import RECIPES, MultiScale, multi_scale_detections

if TYPE_CHECKING:
    from ..detectors import Detector

Network = Callable[[Sequence[np.ndarray]], list[ImageDetections]]


class OneSize:
    """All images resized to a square of `side` pixels, in one pass of the network."""

    def __init__(self, model: Detector, side: int) -> None:
        self.model, self.side = model, side
        self.device = next(model.parameters()).device

    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageDetections]:
        resized = (resize_image(pixels, (self.side, self.side)) for pixels in images)
        batch = torch.stack([to_tensor(pixels) for pixels in resized])
        detections = detect_finite(self.model, batch.to(self.device))
        sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in images]
        return from_padded(detections, sizes, list(range(len(images))))


class ManySizes:
    """Every image by itself, in all sizes of a recipe."""

    def __init__(self, model: Detector, recipe: MultiScale | str) -> None:
        if isinstance(recipe, str):
            check_choice(recipe, "multi_scale", tuple(RECIPES))
        self.model, self.recipe = model, recipe

    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageDetections]:
        return [multi_scale_detections(self.model, pixels, self.recipe) for pixels in images]


def in_torch(
    model: Detector,
    side: int,
    *,
    device: torch.device | str | None,
    multi_scale: MultiScale | str | None,
    optimize: str,
) -> tuple[Detector, Network, str]:
    """A detector in eval mode, or the copy that runs in its place; its network's side; and one line on both.

    side: of the input in pixels. The options are those of `Predictor`. ValueError for weights that are not finite.
    """
    check_finite_weights(model)
    model = model.eval() if device is None else model.to(device).eval()
    kept = next(model.parameters())
    about = f"runtime: torch {torch.__version__}, {str(kept.dtype).removeprefix('torch.')} on {kept.device}"
    if optimize != "off":
        model = optimize_for_inference(model, dtype=optimize, input_size=side)
        about = f"{model.report}"
    return model, OneSize(model, side) if multi_scale is None else ManySizes(model, multi_scale), about
