"""Pixels that are worked on only where they are still wanted: after the crop, before the resize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import cv2
import numpy as np

_BLOCK = 32

PixelOperation = Callable[[np.ndarray], np.ndarray]
"""A new image from an image (H, W, 3) uint8, each pixel from the one in its place alone."""


class DeferredImage:
    """An image (H, W, 3) uint8 that remembers what is to be done to it.

    It stands for the array in a Sample as long as that goes through steps which take pixels as they are: colours,
    the canvas around the image, and a part of it. `pixels()` does them, to hardly more pixels than are left. The result
    is that of the steps on the whole image.
    """

    def __init__(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        self._image = image
        self._operations: list[PixelOperation] = []
        self._window = (0, 0, width, height)  # (x1, y1, x2, y2) of what is left, in pixels of the image
        self._inner = self._window  # of it, what shows the image; the rest is canvas
        self._columns = (0, width)  # (x1, x2) of what the first operation is for
        self._fill: np.ndarray | None = None  # (1, 64, 3), as wide as OpenCV needs it to work as on an image

    @property
    def shape(self) -> tuple[int, int, int]:
        x1, y1, x2, y2 = self._window
        return y2 - y1, x2 - x1, 3

    def map(self, operation: PixelOperation) -> DeferredImage:
        """Every pixel by an operation."""
        made = self._copy()
        if not self._operations:
            made._columns = (self._inner[0], self._inner[2]) if self._fill is not None else self._window[::2]
        made._operations = [*self._operations, operation]
        if self._fill is not None:
            made._fill = operation(self._fill)
        return made

    def on_canvas(self, canvas: tuple[int, int], offset: tuple[int, int], fill: Sequence[float]) -> DeferredImage:
        """On a canvas of (width, height) of one colour, its corner at offset (x, y)."""
        if self._fill is not None:
            return DeferredImage(self.pixels()).on_canvas(canvas, offset, fill)
        made = self._copy()
        x1, y1, _, _ = self._window
        left, top = x1 - offset[0], y1 - offset[1]
        made._inner = self._window
        made._window = (left, top, left + canvas[0], top + canvas[1])
        made._fill = np.full((1, 64, 3), np.clip(np.rint(fill), 0, 255), np.uint8)
        return made

    def part(self, rectangle: tuple[int, int, int, int]) -> DeferredImage:
        """What lies in (x1, y1, x2, y2), whole pixels inside the image."""
        left, top = self._window[:2]
        x1, y1, x2, y2 = rectangle
        made = self._copy()
        made._window = (left + x1, top + y1, left + x2, top + y2)
        return made

    def pixels(self) -> np.ndarray:
        """The image as it has become; a view of the one given where nothing but a part was asked for."""
        x1, y1, x2, y2 = self._window
        inner = self._inner
        a, b = min(max(x1, inner[0]), x2), min(max(y1, inner[1]), y2)
        c, d = max(min(x2, inner[2]), a), max(min(y2, inner[3]), b)
        if a == c or b == d:
            return _bordered(cast(np.ndarray, self._fill)[:, :1], 0, y2 - y1 - 1, 0, x2 - x1 - 1, self._fill)
        if self._operations:
            # OpenCV works on rows in blocks, and its way from HSV rounds the rest of a row otherwise: begin and end
            # where a block does, or the row.
            first, last = self._columns
            start = a - (a - first) % _BLOCK
            image = self._image[b:d, start : min(c + (first - c) % _BLOCK, last)]
            for operation in self._operations:
                image = operation(image)
            image = image[:, a - start : c - start]
        else:
            image = self._image[b:d, a:c]
        if (a, b, c, d) == self._window:
            return image
        return _bordered(image, b - y1, y2 - d, a - x1, x2 - c, self._fill)

    def _copy(self) -> DeferredImage:
        made = DeferredImage(self._image)
        made.__dict__.update(self.__dict__)
        return made


def _bordered(image: np.ndarray, top: int, bottom: int, left: int, right: int, fill: np.ndarray | None) -> np.ndarray:
    value = cast(np.ndarray, fill)[0, 0].tolist()
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=value)


def deferred(image: Any) -> DeferredImage:
    """An image whose steps wait."""
    return image if isinstance(image, DeferredImage) else DeferredImage(image)


def pixels_of(image: Any) -> np.ndarray:
    """The array of an image that may be deferred."""
    return image.pixels() if isinstance(image, DeferredImage) else image


def map_pixels(image: Any, operation: PixelOperation) -> Any:
    """An image by an operation, deferred where the image is."""
    return image.map(operation) if isinstance(image, DeferredImage) else operation(image)
