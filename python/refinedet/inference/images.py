"""Whatever people have as an image, as the pixels that a detector reads."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np

from ..data.checks import Orientation
from ..data.image_files import expand_home
from ..data.image_io import decode_image, read_complete_image, to_8_bits
from .download import download, is_url

Color = Literal["bgr", "rgb"]
COLORS = ("bgr", "rgb")


def load_image(image: Any, orientation: Orientation = "auto", color: Color | None = None) -> np.ndarray:
    """An image as (H, W, 3) uint8 in BGR order; grey is tripled, alpha dropped.

    image: a file's path, an http(s) address, a PIL image of any mode; a NumPy array, uint8 of shape (H, W), (H, W, 1),
        (H, W, 3) or (H, W, 4); or a torch tensor of shape (1, H, W), (3, H, W) or (4, H, W), uint8 or floats from 0 to
        1, which are rounded to 8 bits.
    orientation: "auto" turns files and PIL images as their EXIF tag says, "stored" takes no notice of it.
    color: order of the channels of arrays and tensors; None is "bgr" for arrays, as OpenCV reads them, and "rgb" for
        tensors, as torchvision does.

    FileNotFoundError for a missing file, OSError for an address that does not answer, ValueError for what cannot be
    decoded and for a wrong shape or value, TypeError for anything else.
    """
    if isinstance(image, (str, os.PathLike)):
        if isinstance(image, str) and is_url(image):
            return decode_image(download(image), image, apply_orientation=orientation == "auto")
        return read_complete_image(expand_home(os.fspath(image)), apply_orientation=orientation == "auto")
    if is_pil(image):
        if orientation == "auto":
            from PIL.ImageOps import exif_transpose  # at hand, as the image is Pillow's

            image = exif_transpose(image)
        if image.mode[0] in "IF":  # more than 8 bits, which Pillow would clip
            return _bgr(to_8_bits(np.asarray(image)), "bgr")
        return _bgr(np.asarray(image.convert("RGB")), "rgb")
    if is_tensor(image):
        return _bgr(_tensor_pixels(image), color or "rgb")
    if not isinstance(image, np.ndarray):
        raise TypeError(
            f"image: expected a path, an address, a NumPy array, a tensor or a PIL image, got {type(image).__name__}"
        )
    if image.dtype != np.uint8:
        raise TypeError(f"image: expected a uint8 array, got {image.dtype}")
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or image.size == 0:
        raise ValueError(f"image: expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    return _bgr(image, color or "bgr")


def is_pil(image: Any) -> bool:
    # without importing Pillow, which this package does not need
    return type(image).__module__.split(".")[0] == "PIL" and hasattr(image, "convert")


def is_tensor(image: Any) -> bool:
    # without importing torch, which reading images does not need
    return hasattr(image, "detach") and type(image).__module__.split(".")[0] in ("torch", "torchvision")


def is_image(image: Any) -> bool:
    """Whether this is one image (a batch of tensors is not), or a path, which may stand for several."""
    return isinstance(image, (str, os.PathLike, np.ndarray)) or is_pil(image) or (is_tensor(image) and image.ndim != 4)


def _bgr(pixels: np.ndarray, color: Color) -> np.ndarray:
    pixels = pixels.reshape(*pixels.shape[:2], -1)[:, :, :3]
    if pixels.shape[2] == 1:
        return pixels.repeat(3, axis=2)
    return np.ascontiguousarray(pixels if color == "bgr" else pixels[:, :, ::-1])


def _tensor_pixels(image: Any) -> np.ndarray:
    """(H, W, C) uint8."""
    shape = tuple(image.shape)
    if len(shape) != 3 or shape[0] not in (1, 3, 4) or 0 in shape:
        raise ValueError(f"image: expected a tensor of shape (1, H, W), (3, H, W) or (4, H, W), got {shape}")
    kind = str(image.dtype).removeprefix("torch.")
    if kind != "uint8" and not image.is_floating_point():
        raise TypeError(f"image: expected a tensor of uint8 or floats, got {kind}")
    image = image.detach().cpu()
    if kind == "uint8":
        return image.permute(1, 2, 0).numpy()
    values = image.permute(1, 2, 0).double().numpy() * 255
    low, high = float(values.min()), float(values.max())
    if not (low >= -0.5 and high <= 255.5):  # what rounds to 0..255; NaN is neither
        raise ValueError(
            f"image: expected values from 0 to 1 in a tensor of {kind}, got {low / 255:g} to {high / 255:g}; "
            "pixels up to 255 must be uint8, and normalized ones are no image any more"
        )
    return np.rint(values).clip(0, 255).astype(np.uint8)
