"""Bringing pictures to the size of the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from ...structures import Sample

INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
    "lanczos4": cv2.INTER_LANCZOS4,
}


def random_resize(
    sample: Sample,
    rng: np.random.Generator,
    size: tuple[int, int],
    interpolations: Sequence[str] = tuple(INTERPOLATIONS),
) -> Sample:
    """Resized to (width, height) with one of the interpolations, each as likely."""
    return resize(sample, size, interpolations[int(rng.integers(len(interpolations)))])


def resize(sample: Sample, size: tuple[int, int], interpolation: str = "linear") -> Sample:
    """Resized to (width, height), whatever the aspect ratio was; boxes go along."""
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation: expected one of {list(INTERPOLATIONS)}, got {interpolation!r}")
    width, height = sample.size
    image = cv2.resize(sample.image, size, interpolation=INTERPOLATIONS[interpolation])
    # In float64, and times before divided by: a box on the edge of the picture must stay on the edge.
    boxes = sample.boxes.astype(np.float64) * [*size, *size] / [width, height, width, height]
    return replace(sample, image=image, boxes=boxes.astype(np.float32))
