"""Numbers that describe a data set: of images, objects and boxes, as its annotations have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .annotations import AnnotationTable

SIZES = ("small", "medium", "large")
SIZE_LIMITS = (32.0, 96.0)
"""Sides of a square as large as a box, in pixels, from which a box is medium and large: those of COCO's metrics."""


@dataclass(frozen=True)
class Statistics:
    """What `measure` gives, of M images, N objects and C classes.

    per_class: (C,) objects of every class. per_image: (M,) objects of every image. image_sizes: (M, 2) int64, width
    and height in pixels. boxes: (N, 4) float64 (x1, y1, x2, y2) in pixels of the network's input, to which every
    image is resized whatever its shape. labels: (N,) int64.
    """

    per_class: np.ndarray
    per_image: np.ndarray
    image_sizes: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """(N,): the side of a square as large as the box."""
        return np.sqrt((self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1]))

    @property
    def sizes(self) -> np.ndarray:
        """(N,): 0, 1 or 2 for a box that is small, medium or large."""
        return np.digitize(self.sides, SIZE_LIMITS)

    @property
    def ratios(self) -> np.ndarray:
        """(N,): width over height, as the network sees it."""
        return (self.boxes[:, 2] - self.boxes[:, 0]) / (self.boxes[:, 3] - self.boxes[:, 1])


def measure(table: AnnotationTable, classes: int, input_size: int) -> Statistics:
    """The statistics of a data set of `classes` classes for a network with inputs of input_size pixels a side."""
    per_image = np.diff(table.offsets)
    sizes = np.repeat(table.sizes, per_image, axis=0)
    scale = input_size / np.concatenate([sizes, sizes], axis=1)
    return Statistics(
        per_class=np.bincount(table.labels, minlength=classes + 1)[1:],
        per_image=per_image,
        image_sizes=table.sizes,
        boxes=table.boxes * scale,
        labels=table.labels,
    )
