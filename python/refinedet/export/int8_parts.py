"""What all quantisers share: the parts of a network that they take, and how images become its input."""

from __future__ import annotations

import numpy as np

from ..model_info import ModelInfo
from ..runtimes.model import normalize

PARTS = ("all layers", "all but the last layers", "all but the first and last layers")
"""What is quantised, from the most to the least."""
MANY = 1000
"""Numbers of a constant that is worth storing as float16."""


def network_input(image: np.ndarray, info: ModelInfo) -> np.ndarray:
    """An image (3, H, W) uint8 in BGR order, as often as a call takes images, as the file's input holds it."""
    pixels = np.repeat(image[None], info.batch or 1, axis=0)
    return pixels if info.pixels == "uint8" else normalize(pixels, info)


def floats(part: str, first: str, last: list[str]) -> list[str]:
    """The names of the convolutions that stay in float. part: one of `PARTS`."""
    if part == PARTS[0]:
        return []
    return last if part == PARTS[1] else [first, *last]
