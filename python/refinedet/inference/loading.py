"""Images of every kind, one after the other, on their way into the network of a `Predictor`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..data.checks import Orientation
from .images import Color, is_image, is_tensor, load_image
from .sources import expand
from .video import Frame, is_video_name, read_frames


class LoadedImage(NamedTuple):
    """One image on its way into the network. reread: whether its pixels can be had again from its path."""

    pixels: np.ndarray
    path: str | None = None
    frame: int | None = None
    time: float | None = None
    reread: bool = False


class Unreadable(NamedTuple):
    """In the place of the images that a folder, a pattern, a video or a camera does not give."""

    source: Any
    error: Exception


class ImageLoader:
    """Takes what stands for several images apart, and reads each. orientation, color: as for `Predictor`."""

    def __init__(self, orientation: Orientation, color: Color | None) -> None:
        self.orientation: Orientation = orientation
        self.color = color

    def flat(self, images: Iterable[Any], *, cameras: bool) -> Iterator[Any]:
        """Images and frames, for whatever stands for several of them."""
        for image in images:
            if is_tensor(image) and image.ndim == 4:
                yield from image
                continue
            if not (is_path(image) or (is_camera(image) and cameras)):
                yield image
                continue
            try:
                sources = expand(image)
            except (OSError, ValueError) as error:
                yield Unreadable(image, error)
                continue
            for source in sources:
                if isinstance(source, str) and not is_video_name(source):
                    yield source
                    continue
                frames = read_frames(source, self.orientation)
                while True:
                    try:
                        frame = next(frames, None)
                    except OSError as error:
                        yield Unreadable(source, error)
                        break
                    if frame is None:
                        break
                    yield frame

    def load(self, image: Any) -> LoadedImage:
        """One of them, read; errors are those of `load_image`, and of what stood for several."""
        if isinstance(image, Unreadable):
            raise image.error
        if isinstance(image, Frame):
            return LoadedImage(image.pixels, image.path, image.number, image.time, reread=True)
        pixels = load_image(image, self.orientation, self.color)
        return LoadedImage(pixels, str(image), reread=True) if is_path(image) else LoadedImage(pixels)


def is_path(image: Any) -> bool:
    """Whether this is the path or the address of an image, or of what stands for several."""
    return isinstance(image, (str, os.PathLike))


def is_camera(image: Any) -> bool:
    """Whether this is the number of a camera."""
    return isinstance(image, int) and not isinstance(image, bool)


def listed(images: Any) -> Iterable[Any]:
    """An image, or several, as an iterable; TypeError for what is neither."""
    if is_image(images) or is_tensor(images) or is_camera(images):
        return [images]
    if isinstance(images, Iterable):
        return images
    raise TypeError(f"images: expected an image or several, got {type(images).__name__}")
