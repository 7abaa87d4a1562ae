"""Frames of video files and cameras, by OpenCV."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ..data.checks import Orientation

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")


class Frame(NamedTuple):
    """pixels: (H, W, 3) uint8 BGR. path: the file, or "camera 0". number: from 0. time: in seconds from the start."""

    pixels: np.ndarray
    path: str
    number: int
    time: float


def is_video_name(path: str | Path) -> bool:
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def camera_name(number: int) -> str:
    return f"camera {number}"


def read_frames(source: str | int, orientation: Orientation = "auto") -> Iterator[Frame]:
    """The frames of a video file, or of a camera by its number, which go on until the caller stops.

    Times are those that the file states; a camera's are when each frame came. FileNotFoundError for a missing file;
    OSError if nothing can be read, or a frame is of another size than the first. A file that ends before the number of
    frames that it states is a warning, as that number is an estimate in some formats.
    """
    name = camera_name(source) if isinstance(source, int) else source
    capture = _open(source)
    try:
        if orientation == "stored":
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        stated = 0 if isinstance(source, int) else capture.get(cv2.CAP_PROP_FRAME_COUNT)
        start, index, shape = time.monotonic(), 0, None
        while True:
            good, pixels = capture.read()
            if not good:
                break
            if shape is not None and pixels.shape != shape:
                raise OSError(f"{name}: frame {index} is of {_size(pixels.shape)}, the first of {_size(shape)} pixels")
            shape = pixels.shape
            live = isinstance(source, int)
            seconds = time.monotonic() - start if live else capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield Frame(pixels, name, index, seconds)
            index += 1
    finally:
        capture.release()
    if index == 0:
        raise OSError(f"{name}: not a single frame can be read")
    if isinstance(source, int):
        raise OSError(f"{name}: gives no more frames after {index}")
    if index < stated:
        warnings.warn(f"{name}: {index} frames can be read, it states {stated:.0f}", stacklevel=2)


def stated_frames(path: str) -> int | None:
    """How many frames a file says that it has; None if it does not, or cannot be opened."""
    return int(_stated(path, cv2.CAP_PROP_FRAME_COUNT)) or None


def stated_rate(path: str) -> float | None:
    """The frames per second of a file; None if it does not say, or cannot be opened."""
    return _stated(path, cv2.CAP_PROP_FPS) or None


def _stated(path: str, what: int) -> float:
    try:
        capture = _open(path)
    except OSError:
        return 0.0
    value = capture.get(what)
    capture.release()
    return value if 0 < value < 1e9 else 0.0  # unknown is 0, -1 or NaN, by format


def _open(source: str | int) -> cv2.VideoCapture:
    if isinstance(source, str) and not Path(source).is_file():
        raise FileNotFoundError(f"no such video: {source}")
    capture = cv2.VideoCapture(source)
    if not capture.isOpened():
        capture.release()
        if isinstance(source, int):
            raise OSError(f"{camera_name(source)}: cannot be opened")
        raise OSError(f"cannot decode {source}: not a video, or one of a format that OpenCV does not read")
    return capture


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
