"""The network's side of a `Predictor`: decoded images in, records in their pixels out.

Whatever is called with images, (H, W, 3) uint8 in BGR order of any sizes, and returns an `ImageDetections` for each, is
such a side; these two run a detector in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..checks import check_choice
from ..data.image_io import resize_image
from ..evaluation.results import ImageDetections, from_padded
from ..structures import to_tensor
from .finite import detect_finite
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
