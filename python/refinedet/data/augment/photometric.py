"""Colour distortion of SSD's training, as the original RefineDet code does it on 8-bit pixels.

Every function gives a new image: (H, W, 3) uint8, BGR. Arithmetic is on 8 bits: after every
single step values are rounded and cut off at 0 and 255.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from ...structures import Sample
from .deferred import PixelOperation, map_pixels

_HUE, _SATURATION = 0, 1  # channels of OpenCV's HSV


@dataclass(frozen=True)
class Distortion:
    """How far colours may change; the defaults are the original ones.

    probability: of each single step. brightness: largest shift, up or down, of 0..255 pixels;
    contrast, saturation: range of the factor; hue: largest shift, up or down, of OpenCV's 8-bit
    hue, where 180 is the full circle. channel_swap: probability of a random order of the channels.
    """

    probability: float = 0.5
    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0
    channel_swap: float = 0.0


def distort(sample: Sample, rng: np.random.Generator, options: Distortion | None = None) -> Sample:
    """Brightness, contrast, saturation and hue, each with its probability.

    A fair coin decides whether contrast comes second or last of the four. Boxes stay as they are.
    """
    options = options or Distortion()
    image: Any = sample.image
    for operation in _draw(rng, options):
        image = map_pixels(image, operation)
    return replace(sample, image=image)


def _draw(rng: np.random.Generator, options: Distortion) -> list[PixelOperation]:
    """The steps to take, as chance has it."""
    steps: list[PixelOperation] = []
    if options.probability > 0:
        contrast_early = rng.random() < 0.5
        if rng.random() < options.probability:
            steps.append(partial(adjust_brightness, delta=rng.uniform(-options.brightness, options.brightness)))
        if contrast_early and rng.random() < options.probability:
            steps.append(partial(adjust_contrast, factor=rng.uniform(*options.contrast)))
        if rng.random() < options.probability:
            steps.append(partial(adjust_saturation, factor=rng.uniform(*options.saturation)))
        if rng.random() < options.probability:
            steps.append(partial(adjust_hue, delta=rng.uniform(-options.hue, options.hue)))
        if not contrast_early and rng.random() < options.probability:
            steps.append(partial(adjust_contrast, factor=rng.uniform(*options.contrast)))
    if rng.random() < options.channel_swap:
        steps.append(partial(_swap, order=rng.permutation(3)))
    return steps


def adjust_brightness(image: np.ndarray, delta: float) -> np.ndarray:
    """pixel + delta."""
    shift = _whole_shift(delta)
    return cv2.LUT(image, _table(1.0, delta)) if shift is None else _add(image, (shift,) * 3)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """pixel * factor."""
    return _multiply(image, factor)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """S * factor in HSV."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.insertChannel(_multiply(cv2.extractChannel(hsv, _SATURATION), factor), hsv, _SATURATION)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, hsv)


def adjust_hue(image: np.ndarray, delta: float) -> np.ndarray:
    """H + delta in HSV with hue 0..180, cut off at 0 and not wrapped.

    So a shift down never turns red (0) into violet. Beyond 180 there is room in 8 bits, and the way
    back to BGR reads 180 + x as x, as in the original.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    shift = _whole_shift(delta)
    if shift is None:
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, _HUE), _table(1.0, delta)), hsv, _HUE)
    else:
        hsv = _add(hsv, (shift, 0, 0))
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, hsv)


def _swap(image: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, :, order])


def _table(factor: float, delta: float) -> np.ndarray:
    """(256,) uint8: what becomes of each value. Rounds half to even, as OpenCV does."""
    values = _VALUES.astype(np.float32) * np.float32(factor) + np.float32(delta)
    return _cut_off(np.rint(values)).astype(np.uint8)


def _cut_off(values: np.ndarray) -> np.ndarray:
    cut: np.ndarray = np.minimum(np.maximum(values, 0), 255)  # for a few values a third of the time of np.clip
    return cut


# OpenCV's sums and products are up to nine times faster than its look-ups. Both ways are exact where the checks say so.


def _whole_shift(delta: float) -> int | None:
    """The integer that makes of every value what the table of a shift makes of it; None where there is none, as half
    to even may round up here and down there."""
    shift = int(np.rint(np.float32(delta)))
    return shift if np.array_equal(_table(1.0, delta), _cut_off(_VALUES + shift)) else None


def _add(image: np.ndarray, shifts: tuple[int, int, int]) -> np.ndarray:
    """Every channel plus a number; all of them have one sign."""
    if min(shifts) >= 0:
        return cv2.add(image, np.array([*shifts, 0], np.float64))
    return cv2.subtract(image, -np.array([*shifts, 0], np.float64))  # adding negative numbers is slow


def _multiply(image: np.ndarray, factor: float) -> np.ndarray:
    table = _table(factor, 0.0)
    if np.array_equal(cv2.convertScaleAbs(_RAMP, alpha=factor).ravel(), table):
        return cv2.convertScaleAbs(image, alpha=factor)
    return cv2.LUT(image, table)


_VALUES = np.arange(256)
_RAMP = _VALUES.astype(np.uint8)[None]
