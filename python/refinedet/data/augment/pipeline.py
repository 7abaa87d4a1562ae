"""The steps in order: what an image goes through to train on, and to be evaluated."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import numpy as np

from ...checks import check_choice, check_integer, check_numbers, check_range
from ...structures import CAFFE_MEAN, Normalization, Sample
from .crop import CROP_OBJECTS, CropOptions, random_crop
from .deferred import deferred, pixels_of
from .expand import random_expand
from .flip import random_flip
from .photometric import Distortion, distort
from .resize import INTERPOLATIONS, random_resize, resize

Size = int | tuple[int, int]
STEPS = ("distort", "expand", "crop", "resize", "flip")


@dataclass(frozen=True)
class TrainPipeline:
    """SSD's augmentation as in the original RefineDet code: distort, expand, crop, resize, flip.

    steps: these five in the order in which they come. crop_objects: "any" or "all", see CropOptions;
    expand_shape: see random_expand. keep_objects: an image that loses all its objects on the way is
    only resized instead. EFGRNet's code has the steps crop, distort, expand, flip, resize, "all",
    an expand_shape of (0.5, 2.0), an expand_probability of 0.6, keep_objects, and a min_object of
    one percent of the input.

    size: side of the network's input, or its (width, height). mean, std, order: see Normalization;
    the subtraction is left to the detector, so that all steps work on 8 bits. Expanding fills with
    mean. The other options are those of distort, random_expand, random_crop, random_resize and
    random_flip. min_object: objects whose width or height is less than this many pixels of the
    network's input are left out; 0, as the original, keeps all.

    pipeline(sample, rng) gives the augmented sample, (height, width, 3) uint8, and changes nothing
    in its argument. The same sample and the same random numbers give the same result.
    """

    size: Size
    _: KW_ONLY
    mean: tuple[float, float, float] = CAFFE_MEAN
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Literal["bgr", "rgb"] = "bgr"
    distort_probability: float = 0.5
    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0
    channel_swap_probability: float = 0.0
    expand_probability: float = 0.5
    max_expand: float = 4.0
    crop_probability: float = 1.0
    min_ious: tuple[float | None, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, None)
    crop_trials: int = 50
    crop_scale: tuple[float, float] = (0.3, 1.0)
    crop_ratio: tuple[float, float] = (0.5, 2.0)
    interpolations: tuple[str, ...] = tuple(INTERPOLATIONS)
    flip_probability: float = 0.5
    min_object: float = 0.0
    steps: tuple[str, ...] = STEPS
    crop_objects: str = "any"
    expand_shape: tuple[float, float] = (1.0, 1.0)
    keep_objects: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size)
        _ = self.normalization  # raises where mean, std or order are wrong
        for name in ("distort", "channel_swap", "expand", "crop", "flip"):
            check_range(getattr(self, f"{name}_probability"), f"{name}_probability", 0, 1)
        for name in ("brightness", "hue", "min_object"):
            check_range(getattr(self, name), name, 0, math.inf)
        check_range(self.max_expand, "max_expand", 1, math.inf)
        check_integer(self.crop_trials, "crop_trials", 1)
        check_choice(self.crop_objects, "crop_objects", CROP_OBJECTS)
        check_choice(self.keep_objects, "keep_objects", (True, False))
        for name in ("min_ious", "interpolations", "steps"):
            if not isinstance(getattr(self, name), (tuple, list)):
                raise ValueError(f"{name}: expected several in order, got {getattr(self, name)!r}")
        for iou in self.min_ious:
            if iou is not None:
                check_range(iou, "min_ious", 0, 1)
        if sorted(map(str, self.steps)) != sorted(STEPS):
            raise ValueError(f"steps: expected {list(STEPS)} in some order, got {list(self.steps)}")
        for name in ("contrast", "saturation", "crop_scale", "crop_ratio", "expand_shape"):
            check_numbers(getattr(self, name), name, 2)
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected 0 < low <= high, got {(low, high)}")
        if not self.expand_shape[0] <= 1 <= self.expand_shape[1]:
            raise ValueError(f"expand_shape: expected low <= 1 <= high, got {self.expand_shape}")
        if self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale: expected 1 at most, got {self.crop_scale}")
        unknown = [name for name in self.interpolations if str(name) not in INTERPOLATIONS]
        if unknown or not self.interpolations:
            raise ValueError(
                f"interpolations: expected some of {list(INTERPOLATIONS)}, got {list(self.interpolations)}"
            )

    @property
    def output_size(self) -> tuple[int, int]:
        """(width, height) of the samples that come out."""
        return _as_pair(self.size)

    @property
    def normalization(self) -> Normalization:
        """What is to become of the pixels of the samples that come out."""
        return Normalization(self.mean, self.std, self.order)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        given = sample
        for step in self.steps:
            image: Any = sample.image
            image = pixels_of(image) if step in ("resize", "flip") else deferred(image)
            sample = self._step(step, replace(sample, image=image), rng)
        sample = replace(sample, image=pixels_of(sample.image))
        if self.min_object:
            sample = drop_small(sample, self.min_object)
        if self.keep_objects and not len(sample.boxes) and len(given.boxes):
            return resize(given, self.output_size)
        return sample

    def _step(self, step: str, sample: Sample, rng: np.random.Generator) -> Sample:
        if step == "distort":
            return distort(sample, rng, self._distortion())
        if step == "expand":
            return random_expand(
                sample,
                rng,
                probability=self.expand_probability,
                max_ratio=self.max_expand,
                shape=self.expand_shape,
                fill=self.mean,
            )
        if step == "crop":
            return random_crop(sample, rng, probability=self.crop_probability, options=self._crop_options())
        if step == "resize":
            return random_resize(sample, rng, self.output_size, self.interpolations)
        return random_flip(sample, rng, probability=self.flip_probability)

    def _distortion(self) -> Distortion:
        return Distortion(
            probability=self.distort_probability,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            channel_swap=self.channel_swap_probability,
        )

    def _crop_options(self) -> CropOptions:
        return CropOptions(self.min_ious, self.crop_trials, self.crop_scale, self.crop_ratio, self.crop_objects)


@dataclass(frozen=True)
class EvalPipeline:
    """What an image goes through to be evaluated: resized, nothing else.

    size, mean, std, order: as for TrainPipeline. interpolation: linear, as the original.
    """

    size: Size
    _: KW_ONLY
    mean: tuple[float, float, float] = CAFFE_MEAN
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Literal["bgr", "rgb"] = "bgr"
    interpolation: str = "linear"

    def __post_init__(self) -> None:
        _check_size(self.size)
        _ = self.normalization
        check_choice(self.interpolation, "interpolation", tuple(INTERPOLATIONS))

    @property
    def output_size(self) -> tuple[int, int]:
        """(width, height) of the samples that come out."""
        return _as_pair(self.size)

    @property
    def normalization(self) -> Normalization:
        """What is to become of the pixels of the samples that come out."""
        return Normalization(self.mean, self.std, self.order)

    def __call__(self, sample: Sample, rng: np.random.Generator | None = None) -> Sample:
        """rng is not used; it is there so that both pipelines are called alike."""
        return resize(sample, self.output_size, self.interpolation)


def drop_small(sample: Sample, min_object: float) -> Sample:
    """The sample without the objects that are less than min_object pixels wide or high."""
    sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
    return sample.select((sides >= min_object).all(axis=1))


def _as_pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _check_size(size: Size) -> None:
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"size: expected a positive side or (width, height), got {size!r}")
