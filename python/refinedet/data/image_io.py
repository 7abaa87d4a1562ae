"""Images: the size from a file's header, the pixels, and bringing them to the size of a network's input."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from ..checks import check_choice

INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
    "lanczos4": cv2.INTER_LANCZOS4,
}

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
# Start-of-frame markers carry the size: C0..CF but for DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI: markers without a length


class ImageReadError(ValueError):
    """A file is no image that can be read; the message names the file."""


def read_image(path: str | Path, *, apply_orientation: bool = False) -> np.ndarray:
    """The pixels of an image: (H, W, 3) uint8, BGR; grey is tripled, alpha dropped.

    apply_orientation: turn the image as its EXIF tag says. Off by default, since annotations
    count pixels as they are stored; an image for people to look at wants it on. Raises
    FileNotFoundError, or ImageReadError for a file that cannot be decoded.
    """
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread cannot open every path on every system
    except FileNotFoundError:
        raise FileNotFoundError(f"no such image: {path}") from None
    flags = cv2.IMREAD_COLOR | (0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION)
    image = None
    if data.size:
        try:
            image = cv2.imdecode(data, flags)
        except cv2.error as error:
            raise ImageReadError(f"cannot decode {path}: {error.err}") from error
    if image is None:
        raise ImageReadError(f"cannot decode {path}: {_what_is_wrong(data.size)}")
    return image


def read_image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of an image as stored, from its header, without decoding it.

    PNG and JPEG files must also have their end, which finds files that were cut off. Other formats
    are decoded, which is slow but right. Raises FileNotFoundError, or ImageReadError.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(24)
            if start.startswith(_JPEG):
                return _jpeg_size(file, path)
            if start.startswith(_PNG):
                return _png_size(file, start, path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such image: {path}") from None
    if not start:
        raise ImageReadError(f"{path}: {_what_is_wrong(0)}")
    height, width = read_image(path).shape[:2]
    return width, height


def resize_image(image: np.ndarray, size: tuple[int, int], interpolation: str = "linear") -> np.ndarray:
    """(H, W, 3) uint8 resized to (width, height), whatever the aspect ratio was; the original resizes linearly."""
    check_choice(interpolation, "interpolation", tuple(INTERPOLATIONS))
    return cv2.resize(image, size, interpolation=INTERPOLATIONS[interpolation])


def _what_is_wrong(size: int) -> str:
    return "not an image, or a damaged one" if size else "the file is empty"


def _png_size(file: BinaryIO, start: bytes, path: str | Path) -> tuple[int, int]:
    if len(start) < 24 or start[12:16] != b"IHDR":
        raise ImageReadError(f"{path}: PNG header damaged")
    width, height = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
    if width < 1 or height < 1:
        raise ImageReadError(f"{path}: PNG header damaged, its size is {width} x {height}")
    if not _has_end(file, _PNG_END, 24):
        raise ImageReadError(f"{path}: PNG file is cut off (no end chunk)")
    return width, height


def _jpeg_size(file: BinaryIO, path: str | Path) -> tuple[int, int]:
    file.seek(2)
    while True:
        marker = _next_jpeg_marker(file)
        if marker in _JPEG_BARE:
            continue
        length = int.from_bytes(file.read(2), "big")
        if marker is None or length < 2 or marker in (0xD9, 0xDA):
            raise ImageReadError(f"{path}: JPEG header damaged or cut off")
        if marker in _JPEG_FRAMES:
            frame = file.read(5)
            height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
            if width < 1 or height < 1:
                raise ImageReadError(f"{path}: JPEG header damaged, its size is {width} x {height}")
            if not _has_end(file, _JPEG_END, file.tell()):
                raise ImageReadError(f"{path}: JPEG file is cut off (no end marker)")
            return width, height
        file.seek(length - 2, 1)


def _next_jpeg_marker(file: BinaryIO) -> int | None:
    """The code of the marker at the file's position; None at the end of the file or elsewhere."""
    byte = file.read(1)
    if byte != b"\xff":
        return None
    while byte == b"\xff":  # any number of fill bytes may come before the code
        byte = file.read(1)
    return byte[0] if byte else None


def _has_end(file: BinaryIO, end: bytes, header: int) -> bool:
    """Whether the mark comes after the header; it is mostly last, some writers add bytes to it."""
    file.seek(0, 2)
    file.seek(max(header, file.tell() - len(end)))
    if file.read() == end:
        return True
    file.seek(header)
    return end in file.read()
