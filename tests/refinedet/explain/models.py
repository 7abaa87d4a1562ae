"""Tiny detectors with weights that move anchors and taps a little, and an image for them."""

from __future__ import annotations

import numpy as np
import torch

import refinedet
from refinedet.detectors import Detector
from refinedet.heads import FeatureAlignment, FeatureGuidedRefinement

NAMES = ("refinedet192_small", "efgrnet192_small", "padet192_small", "refinedetlite320_res2netlite72")


def tiny(name: str, **options: object) -> Detector:
    """Three classes; the heads' weights are small, so that boxes stay near their anchors."""
    torch.manual_seed(0)
    side = 128 if name.startswith(("padet", "refinedetlite")) else 64
    own = {"width": 8} if name.startswith("refinedetlite") else {}
    model = refinedet.create_model(name, 4, **{"input_size": side, "head_std": 0.02, **own, **options}).eval()
    for module in model.modules():
        if isinstance(module, (FeatureAlignment, FeatureGuidedRefinement)) and module.offset is not None:
            for conv in (m for m in module.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)):
                torch.nn.init.normal_(conv.weight, std=0.5)
    return model


def image(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def pixels(model: Detector) -> torch.Tensor:
    side = model.config.input_size
    return torch.from_numpy(image(side, side)).permute(2, 0, 1)[None].contiguous()


def bilinear(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A map (C, H, W) read at points (..., 2), x and y; zero outside. Returns (..., C)."""
    channels, height, width = maps.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = maps
    x, y = (np.clip(points[..., i], -1, size) for i, size in ((0, width), (1, height)))
    left, top = (np.minimum(np.floor(v).astype(int), size - 1) for v, size in ((x, width), (y, height)))
    total = 0.0
    for down in (0, 1):
        for right in (0, 1):
            share = (1 - abs(y - top - down)) * (1 - abs(x - left - right))
            total = total + padded[:, top + down + 1, left + right + 1] * share
    return np.moveaxis(np.asarray(total), 0, -1)
