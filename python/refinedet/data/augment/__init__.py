"""SSD's augmentation, one step per file; `pipeline` puts the steps together."""

from .crop import CropOptions, crop, crop_pool, random_crop
from .expand import expand, random_expand
from .flip import flip, random_flip
from .photometric import (
    Distortion,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    distort,
)
from .pipeline import EvalPipeline, TrainPipeline, drop_small
from .resize import INTERPOLATIONS, random_resize, resize

__all__ = [
    "INTERPOLATIONS",
    "CropOptions",
    "Distortion",
    "EvalPipeline",
    "TrainPipeline",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "crop",
    "crop_pool",
    "distort",
    "drop_small",
    "expand",
    "flip",
    "random_crop",
    "random_expand",
    "random_flip",
    "random_resize",
    "resize",
]
