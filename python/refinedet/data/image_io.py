"""Images: the size from a file's header, the pixels, and bringing them to the size of a network's input."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

from ..checks import check_choice
from .image_header import claimed_size, what_is_too_large

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
_APP1 = 0xE1
_EXIF = b"Exif\0\0"
# Start-of-frame markers carry the size: C0..CF but for DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RST0..7, SOI: markers without a length


class ImageReadError(ValueError):
    """A file is no image that can be read; the message names the file."""


class StoredSize(NamedTuple):
    """size: (width, height) as stored. orientation: the EXIF tag, 1 (or none) to 8; from 5 on it swaps the sides."""

    size: tuple[int, int]
    orientation: int

    @property
    def turned(self) -> tuple[int, int]:
        """(width, height) as viewers show the image."""
        return self.size[::-1] if self.orientation >= 5 else self.size


def read_image(path: str | Path, *, apply_orientation: bool = False) -> np.ndarray:
    """The pixels of an image: (H, W, 3) uint8, BGR; grey is tripled, alpha dropped.

    apply_orientation: turn the image as its EXIF tag says (OpenCV always turns TIFF images). Off by default, which
    gives the pixels as they are stored; an image for people to look at wants it on.

    Deeper pixels are scaled: a 16-bit image by the smallest of 8, 10, 12, 14 and 16 bits that holds its highest value,
    as cameras and scanners write fewer bits than the file has room for, but for coloured PNG, which always stands for
    16; floats from 0 to 1 as they are, others from their lowest to their highest value.

    Raises FileNotFoundError, or ImageReadError for a file that cannot be decoded or that claims more pixels than
    `image_header.pixel_limit()`.
    """
    return _decode(_read_bytes(path), path, apply_orientation)


def read_oriented(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """As read_image, in whichever orientation has this size; turned as the EXIF tag says where both have."""
    data = _read_bytes(path)
    image = _decode(data, path, True)
    if image.shape[1::-1] == size:
        return image
    stored = _decode(data, path, False)
    return stored if stored.shape[1::-1] == size else image


def read_complete_image(path: str | Path, *, apply_orientation: bool = False) -> np.ndarray:
    """As read_image, and ImageReadError for a JPEG file that was cut off, which OpenCV fills up with grey."""
    return _decode_complete(_read_bytes(path), path, apply_orientation)


def decode_image(data: bytes, source: str, *, apply_orientation: bool = False) -> np.ndarray:
    """As read_complete_image, of an image in memory; `source` is what errors call it."""
    return _decode_complete(np.frombuffer(data, np.uint8), source, apply_orientation)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 BGR in the format of the path's suffix, complete or not at all.

    JPEG in OpenCV's quality, 95. ValueError for a suffix that OpenCV does not write, OSError where the file cannot be
    written.
    """
    path = Path(path)
    if not (path.suffix and cv2.haveImageWriter(path.name)):
        raise ValueError(f"path: expected the suffix of an image format that OpenCV writes, got {path}")
    good, data = cv2.imencode(path.suffix, image)
    if not good:
        raise OSError(f"{path}: OpenCV could not encode the image, of shape {image.shape}")
    # written by Python: imwrite fails on some paths without saying why
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data.tobytes())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _decode_complete(data: np.ndarray, source: str | Path, apply_orientation: bool) -> np.ndarray:
    if data[: len(_JPEG)].tobytes() == _JPEG:
        _jpeg_size(io.BytesIO(data.data), source)
    return _decode(data, source, apply_orientation)


def _read_bytes(path: str | Path) -> np.ndarray:
    try:
        return np.fromfile(path, np.uint8)  # cv2.imread cannot open every path on every system
    except FileNotFoundError:
        raise FileNotFoundError(f"no such image: {path}") from None


def _decode(data: np.ndarray, path: str | Path, apply_orientation: bool) -> np.ndarray:
    keep = 0 if apply_orientation else cv2.IMREAD_IGNORE_ORIENTATION
    start = data[:8].tobytes()
    too_large = what_is_too_large(claimed_size(data.data))
    if too_large is not None:
        raise ImageReadError(f"cannot decode {path}: {too_large}")
    image = None
    try:
        if start.startswith(_JPEG):
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | keep)
        elif data.size:
            image = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | keep)
            if image is None:  # some layouts, such as TIFF with floats or many channels, come only as they are
                image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageReadError(f"cannot decode {path}: {error.err}") from error
    if image is None:
        raise ImageReadError(f"cannot decode {path}: {_what_is_wrong(data.size)}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels > 4:
        raise ImageReadError(f"cannot decode {path}: expected 1 to 4 channels, got {channels}")
    image = image.reshape(*image.shape[:2], channels)
    image = image[:, :, :1] if channels < 3 else image[:, :, :3]  # what is left out is alpha
    image = to_8_bits(image, all_16=start == _PNG and channels >= 3)
    return np.ascontiguousarray(image if channels >= 3 else image.repeat(3, axis=2))


def to_8_bits(image: np.ndarray, all_16: bool = False) -> np.ndarray:
    """Pixels of any type as uint8, see read_image. all_16: 16-bit pixels use the whole range."""
    if image.dtype == np.uint8:
        return image
    if np.issubdtype(image.dtype, np.integer) and image.min() >= 0 and image.max() <= 0xFFFF:
        image = image.astype(np.uint16)
        highest = 0xFFFF if all_16 else int(image.max())
        bits = next(bits for bits in (8, 10, 12, 14, 16) if highest < 1 << bits)
        return (image >> (bits - 8)).astype(np.uint8)
    values = image.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1 and np.issubdtype(image.dtype, np.floating):
        low, high = 0.0, 1.0
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * (255 / max(high - low, 1e-300))
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def read_image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of an image as stored, from its header, without decoding it; as read_stored_size."""
    return read_stored_size(path).size


def read_stored_size(path: str | Path) -> StoredSize:
    """Size and orientation of an image from its header, without decoding it.

    PNG and JPEG files must also have their end, which finds files that were cut off. Other formats
    are decoded, which is slow but right. Raises FileNotFoundError, or ImageReadError.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(24)
            stored = None
            if start.startswith(_JPEG):
                stored = _jpeg_size(file, path)
            elif start.startswith(_PNG):
                stored = StoredSize(_png_size(file, start, path), _png_orientation(file))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such image: {path}") from None
    if stored is not None:
        too_large = what_is_too_large(stored.size)
        if too_large is not None:
            raise ImageReadError(f"{path}: {too_large}")
        return stored
    if not start:
        raise ImageReadError(f"{path}: {_what_is_wrong(0)}")
    image = read_image(path)
    turned = read_image(path, apply_orientation=True) if start[8:12] in (b"WEBP", b"avif") else image
    height, width = image.shape[:2]
    orientation = 1 if np.array_equal(image, turned) else 6 if turned.shape != image.shape else 3
    return StoredSize((width, height), orientation)


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


def _jpeg_size(file: BinaryIO, path: str | Path) -> StoredSize:
    file.seek(2)
    orientation = 1
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
            return StoredSize((width, height), orientation)
        if marker == _APP1:
            segment = file.read(length - 2)
            if segment.startswith(_EXIF):
                orientation = _exif_orientation(segment[len(_EXIF) :])
        else:
            file.seek(length - 2, 1)


def _png_orientation(file: BinaryIO) -> int:
    """That of an eXIf chunk, 1 where there is none."""
    file.seek(len(_PNG))
    while True:
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return 1
        if kind == b"eXIf":
            return _exif_orientation(file.read(length))
        file.seek(length + 4, 1)


def _exif_orientation(data: bytes) -> int:
    """The orientation in EXIF data (a TIFF header and its first directory); 1 where there is none that makes sense."""
    order = {b"II": "little", b"MM": "big"}.get(data[:2])
    if order is None:
        return 1

    def number(start: int, length: int) -> int:
        return int.from_bytes(data[start : start + length], order)  # type: ignore[arg-type]

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(entry, 2) == 0x0112 and entry + 12 <= len(data):
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


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
