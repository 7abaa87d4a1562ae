"""Colour distortion of SSD's training, as the original RefineDet code does it on 8-bit pixels.

Every function gives a new image: (H, W, 3) uint8, BGR. Arithmetic is on 8 bits: after every
single step values are rounded and cut off at 0 and 255.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...structures import Sample

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
    image = sample.image
    if options.probability > 0:
        contrast_early = rng.random() < 0.5
        image = _maybe_brightness(image, rng, options)
        if contrast_early:
            image = _maybe_contrast(image, rng, options)
        image = _maybe_saturation(image, rng, options)
        image = _maybe_hue(image, rng, options)
        if not contrast_early:
            image = _maybe_contrast(image, rng, options)
    if rng.random() < options.channel_swap:
        image = np.ascontiguousarray(image[:, :, rng.permutation(3)])
    return replace(sample, image=image)


def adjust_brightness(image: np.ndarray, delta: float) -> np.ndarray:
    """pixel + delta."""
    return cv2.LUT(image, _table(1.0, delta))


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """pixel * factor."""
    return cv2.LUT(image, _table(factor, 0.0))


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """S * factor in HSV."""
    return _adjust_hsv(image, _SATURATION, _table(factor, 0.0))


def adjust_hue(image: np.ndarray, delta: float) -> np.ndarray:
    """H + delta in HSV with hue 0..180, cut off at 0 and not wrapped.

    So a shift down never turns red (0) into violet. Beyond 180 there is room in 8 bits, and the way
    back to BGR reads 180 + x as x, as in the original.
    """
    return _adjust_hsv(image, _HUE, _table(1.0, delta))


def _table(factor: float, delta: float) -> np.ndarray:
    """(256,) uint8: what becomes of each value. Rounds half to even, as OpenCV does."""
    values = np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(delta)
    table: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return table


def _adjust_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, hsv)


def _maybe_brightness(image: np.ndarray, rng: np.random.Generator, options: Distortion) -> np.ndarray:
    if rng.random() >= options.probability:
        return image
    return adjust_brightness(image, rng.uniform(-options.brightness, options.brightness))


def _maybe_contrast(image: np.ndarray, rng: np.random.Generator, options: Distortion) -> np.ndarray:
    if rng.random() >= options.probability:
        return image
    return adjust_contrast(image, rng.uniform(*options.contrast))


def _maybe_saturation(image: np.ndarray, rng: np.random.Generator, options: Distortion) -> np.ndarray:
    if rng.random() >= options.probability:
        return image
    return adjust_saturation(image, rng.uniform(*options.saturation))


def _maybe_hue(image: np.ndarray, rng: np.random.Generator, options: Distortion) -> np.ndarray:
    if rng.random() >= options.probability:
        return image
    return adjust_hue(image, rng.uniform(-options.hue, options.hue))
