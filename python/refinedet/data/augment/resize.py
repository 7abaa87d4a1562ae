"""Bringing images to the size of the network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...structures import Sample
from ..image_io import INTERPOLATIONS, resize_image


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
    width, height = sample.size
    image = resize_image(sample.image, size, interpolation)
    # In float64, and times before divided by: a box on the edge of the image must stay on the edge.
    boxes = sample.boxes.astype(np.float64) * [*size, *size] / [width, height, width, height]
    return replace(sample, image=image, boxes=boxes.astype(np.float32))
