"""Left and right swapped."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ...structures import Sample


def random_flip(sample: Sample, rng: np.random.Generator, *, probability: float = 0.5) -> Sample:
    """Flipped with a probability."""
    return flip(sample) if rng.random() < probability else sample


def flip(sample: Sample) -> Sample:
    """The mirror image: x becomes width - x."""
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = sample.size[0] - sample.boxes[:, [2, 0]]
    return replace(sample, image=cv2.flip(sample.image, 1), boxes=boxes)
