"""What images of a classifier go through: a random part in training, the middle in evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..data.augment.flip import flip
from ..data.image_io import resize_image
from ..structures import Normalization, Sample

TRIALS = 10
RATIO = (3 / 4, 4 / 3)
MIDDLE = 0.875
"""Share of the shorter side that the part in the middle has."""


def random_part(
    rng: np.random.Generator, size: tuple[int, int], scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of whole pixels: a part of an image of `size` (width, height).

    Its share of the area is uniform in `scale`, the logarithm of its width over its height in `RATIO`, its place is
    uniform (Szegedy et al. 2015). After ten trials that do not fit: the largest part in the middle with a ratio in
    that range.
    """
    width, height = size
    for _ in range(TRIALS):
        area = width * height * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return x, y, x + w, y + h
    w, h = max(1, min(width, round(height * RATIO[1]))), max(1, min(height, round(width / RATIO[0])))
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


@dataclass(frozen=True)
class _Pipeline:
    """size: side of the network's input in pixels."""

    size: int
    normalization: Normalization

    @property
    def output_size(self) -> tuple[int, int]:
        """(width, height) of the samples that come out."""
        return self.size, self.size

    def _part(self, sample: Sample, part: tuple[int, int, int, int]) -> Sample:
        x1, y1, x2, y2 = part
        image = resize_image(sample.image[y1:y2, x1:x2], self.output_size)
        return replace(sample, image=image, boxes=np.array([[0, 0, *self.output_size]], np.float32))


@dataclass(frozen=True)
class RandomPart(_Pipeline):
    """A random part, flipped half the time. scale: see `random_part`."""

    scale: tuple[float, float] = (0.08, 1.0)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        sample = self._part(sample, random_part(rng, sample.size, self.scale))
        return flip(sample) if rng.random() < 0.5 else sample


@dataclass(frozen=True)
class MiddlePart(_Pipeline):
    """The square in the middle whose side is 7/8 of the image's shorter one."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        width, height = sample.size
        side = max(1, round(MIDDLE * min(width, height)))
        x, y = (width - side) // 2, (height - side) // 2
        return self._part(sample, (x, y, x + side, y + side))
