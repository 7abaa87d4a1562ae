"""Zooming in: SSD's batch sampler, which crops so that some object, or every one, keeps a wanted overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...boxes import box_iou
from ...structures import Sample
from .deferred import DeferredImage

CROP_OBJECTS = ("any", "all")


@dataclass(frozen=True)
class CropOptions:
    """How crops are tried; the defaults are the original ones.

    min_ious: one sampler each, with the IoU that some object must have with the crop; None asks for
    nothing but an object in the image. trials: per sampler. scale: range of the square root of
    the crop's share of the image's area. ratio: range of width over height, as fractions of the
    image, before it is limited to what fits. objects: whether "any" object of the image has to
    have that IoU with the crop, or "all" of them.
    """

    min_ious: tuple[float | None, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, None)
    trials: int = 50
    scale: tuple[float, float] = (0.3, 1.0)
    ratio: tuple[float, float] = (0.5, 2.0)
    objects: str = "any"


def random_crop(
    sample: Sample,
    rng: np.random.Generator,
    *,
    probability: float = 1.0,
    options: CropOptions | None = None,
) -> Sample:
    """One of the pool of crops, each as likely; the full image is always in the pool."""
    if rng.random() >= probability:
        return sample
    pool = crop_pool(sample, rng, options)
    choice = int(rng.integers(len(pool) + 1))
    return sample if choice == 0 else crop(sample, pool[choice - 1])


def crop_pool(sample: Sample, rng: np.random.Generator, options: CropOptions | None = None) -> np.ndarray:
    """(P, 4) int64, P at most the number of samplers: the first crop that each one accepts.

    In the original every sampler has a condition on the objects, also the one that asks for no
    overlap, so an image without objects has no crops. Crowd boxes count as no objects here.
    """
    options = options or CropOptions()
    objects = sample.boxes[~sample.crowd]
    samplers = len(options.min_ious)
    if not len(objects) or not samplers:
        return np.zeros((0, 4), np.int64)
    # All trials of all samplers at once: independent draws, so which of them are looked at first
    # changes nothing in the distribution.
    rectangles = sample_rectangles(rng, samplers * options.trials, sample.size, options)
    shared = box_iou(rectangles[:, None], objects)
    reached = shared.max(axis=1) if options.objects == "any" else shared.min(axis=1)
    wanted = np.array([0.0 if iou is None else iou for iou in options.min_ious])
    accepted = reached.reshape(samplers, options.trials) >= wanted[:, None]
    first = accepted.argmax(axis=1)
    rows = np.arange(samplers) * options.trials + first
    pool: np.ndarray = rectangles[rows[accepted.any(axis=1)]]
    return pool


def sample_rectangles(
    rng: np.random.Generator,
    count: int,
    size: tuple[int, int],
    options: CropOptions | None = None,
) -> np.ndarray:
    """(count, 4) int64: random rectangles (x1, y1, x2, y2) of whole pixels in an image of `size`.

    Scale s and ratio q uniform, q limited to [s^2, 1 / s^2]; the rectangle is s * sqrt(q) of the
    width and s / sqrt(q) of the height, at a uniform place.
    """
    options = options or CropOptions()
    scale = rng.uniform(*options.scale, size=count)
    ratio = rng.uniform(*options.ratio, size=count)
    ratio = np.clip(ratio, scale**2, 1 / scale**2)
    sides = np.stack([scale * np.sqrt(ratio), scale / np.sqrt(ratio)], axis=1)
    sides = np.minimum(sides, 1.0)  # rounding can leave one a little above
    corner = rng.random((count, 2)) * (1 - sides)
    limits = np.array(size)
    # As the original: corner and sides are cut down to whole pixels. Boxes are moved by the same
    # whole pixels, where the original moves them by the fraction and so up to a pixel off.
    sides = np.maximum((sides * limits).astype(np.int64), 1)
    corner = np.minimum((corner * limits).astype(np.int64), limits - sides)
    return np.concatenate([corner, corner + sides], axis=1)


def crop(sample: Sample, rectangle: Sequence[int] | np.ndarray) -> Sample:
    """The part of the image in (x1, y1, x2, y2), whole pixels, as a view of its pixels.

    Objects stay if their centre lies inside or on the edge, and are clipped. Raises ValueError for
    a rectangle that is empty or not inside the image.
    """
    x1, y1, x2, y2 = (int(value) for value in rectangle)
    width, height = sample.size
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(f"rectangle: expected one inside {width} x {height} pixels, got {(x1, y1, x2, y2)}")
    low, high = np.array([x1, y1], np.float32), np.array([x2, y2], np.float32)
    centers = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
    keep = ((centers >= low) & (centers <= high)).all(axis=1)
    kept = sample.select(keep)
    corners = np.clip(kept.boxes.reshape(-1, 2, 2), low, high) - low
    image: Any = sample.image
    image = image.part((x1, y1, x2, y2)) if isinstance(image, DeferredImage) else image[y1:y2, x1:x2]
    return replace(kept, image=image, boxes=corners.reshape(-1, 4))
