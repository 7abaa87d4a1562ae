"""Zooming out: the image on a larger canvas of one colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from ...structures import CAFFE_MEAN, Sample
from .deferred import DeferredImage


def random_expand(
    sample: Sample,
    rng: np.random.Generator,
    *,
    probability: float = 0.5,
    max_ratio: float = 4.0,
    shape: tuple[float, float] = (1.0, 1.0),
    fill: Sequence[float] = CAFFE_MEAN,
) -> Sample:
    """With a probability, the image at a random place of a canvas 1 to max_ratio times as wide and
    high.

    shape: range of the canvas's width over its height, in widths and heights of the image, before
    it is limited to where the image fits; the canvas keeps its area. (1, 1) keeps the image's.
    """
    if rng.random() >= probability:
        return sample
    ratio = rng.uniform(1.0, max_ratio)
    root = 1.0
    if shape != (1.0, 1.0):
        low, high = max(shape[0], ratio**-2), min(shape[1], ratio**2)
        root = float(np.sqrt(rng.uniform(low, high)))
    width, height = sample.size
    canvas = max(int(width * ratio * root), width), max(int(height * ratio / root), height)
    left = int(rng.uniform(0, canvas[0] - width))
    top = int(rng.uniform(0, canvas[1] - height))
    return expand(sample, canvas, (left, top), fill)


def expand(
    sample: Sample,
    canvas: tuple[int, int],
    offset: tuple[int, int],
    fill: Sequence[float] = CAFFE_MEAN,
) -> Sample:
    """The image on a canvas of (width, height), its corner at offset (x, y).

    fill: colour of the rest, BGR in 0..255, rounded. Raises ValueError where it does not fit.
    """
    width, height = sample.size
    left, top = offset
    right, bottom = canvas[0] - width - left, canvas[1] - height - top
    if min(left, top, right, bottom) < 0:
        raise ValueError(f"canvas: expected room for {width} x {height} pixels at {offset}, got {canvas}")
    image: Any = sample.image
    if isinstance(image, DeferredImage):
        image = image.on_canvas(canvas, offset, fill)
    else:
        image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=list(fill))
    shift = np.array([left, top, left, top], np.float32)
    return replace(sample, image=image, boxes=sample.boxes + shift)
