"""The size that an image claims, from the head of its file: asked before anything is decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

MAX_PIXELS = 1 << 28
LIMIT_VARIABLE = "REFINEDET_MAX_PIXELS"
"""A file of a few hundred bytes can claim 10^9 pixels, for which decoding takes gigabytes. This environment variable
sets another limit than 2^28 pixels (16,384 x 16,384)."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})

Size = tuple[int, int]


def pixel_limit() -> int:
    """The largest number of pixels that is decoded. Raises ValueError for a limit that is no positive integer."""
    text = os.environ.get(LIMIT_VARIABLE)
    if text is None:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{LIMIT_VARIABLE}: expected a number of pixels, got {text!r}")
    return int(text)


def what_is_too_large(size: Size | None) -> str | None:
    """A phrase on a size (width, height) above the limit, None for one that is not."""
    limit = pixel_limit()
    if size is None or size[0] * size[1] <= limit:
        return None
    return f"{size[0]} x {size[1]} pixels are more than the limit of {limit:,} ({LIMIT_VARIABLE} sets another)"


def claimed_size(data: bytes | memoryview) -> Size | None:
    """(width, height) that an image file in memory claims to have; None where its format is not one of the usual, or
    its head makes no sense. What is then too large for OpenCV itself (2^30 pixels) OpenCV refuses."""
    view = memoryview(data)
    start = bytes(view[:16])
    for magic, read in _READERS:
        if re.match(magic, start, re.DOTALL):
            try:
                return read(view)
            except IndexError:  # the file ends within its head
                return None
    return None


def _number(data: memoryview, start: int, length: int, order: str = "little") -> int:
    part = bytes(data[start : start + length])
    if start < 0 or len(part) < length:
        raise IndexError(start)
    return int.from_bytes(part, order)  # type: ignore[arg-type]


def _png(data: memoryview) -> Size:
    return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")


def _jpeg(data: memoryview) -> Size | None:
    place = 2
    while True:
        if _number(data, place, 1) != 0xFF:
            return None
        while _number(data, place, 1) == 0xFF:  # any number of fill bytes may come before the code
            place += 1
        marker = _number(data, place, 1)
        place += 1
        if marker in _JPEG_BARE:
            continue
        if marker in _JPEG_FRAMES:
            return _number(data, place + 5, 2, "big"), _number(data, place + 3, 2, "big")
        place += max(2, _number(data, place, 2, "big"))


def _gif(data: memoryview) -> Size:
    return _number(data, 6, 2), _number(data, 8, 2)


def _bmp(data: memoryview) -> Size:
    if _number(data, 14, 4) == 12:  # the header of OS/2
        return _number(data, 18, 2), _number(data, 20, 2)
    width, height = (_number(data, place, 4) for place in (18, 22))
    return width, min(height, (1 << 32) - height)  # rows from the top have a negative height


def _webp(data: memoryview) -> Size | None:
    kind = bytes(data[12:16])
    if kind == b"VP8X":
        return _number(data, 24, 3) + 1, _number(data, 27, 3) + 1
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _number(data, 26, 2) & 0x3FFF, _number(data, 28, 2) & 0x3FFF


def _tiff(data: memoryview) -> Size | None:
    order = "little" if data[0] == ord("I") else "big"
    big = _number(data, 2, 2, order) == 43
    offset = _number(data, 8, 8, order) if big else _number(data, 4, 4, order)
    count = _number(data, offset, 8 if big else 2, order)
    first, step, value = (offset + 8, 20, 12) if big else (offset + 2, 12, 8)
    sides: dict[int, int] = {}
    for entry in range(first, first + step * min(count, 1000), step):
        tag = _number(data, entry, 2, order)
        if tag in (256, 257):
            kind = _number(data, entry + 2, 2, order)
            sides[tag] = _number(data, entry + value, {3: 2, 16: 8}.get(kind, 4), order)
        if len(sides) == 2:
            return sides[256], sides[257]
    return None


def _netpbm(data: memoryview) -> Size | None:
    head = re.sub(rb"#[^\n]*", b"", bytes(data[:1024]))
    if head.startswith(b"P7"):
        found = re.search(rb"WIDTH\s+(\d{1,18})\s+HEIGHT\s+(\d{1,18})", head)
    else:
        found = re.match(rb"P.\s+(\d{1,18})\s+(\d{1,18})", head)
    return None if found is None else (int(found[1]), int(found[2]))


def _sun_raster(data: memoryview) -> Size:
    return _number(data, 4, 4, "big"), _number(data, 8, 4, "big")


def _radiance(data: memoryview) -> Size | None:
    found = re.search(rb"[-+]Y (\d{1,18}) [-+]X (\d{1,18})", bytes(data[:4096]))
    return None if found is None else (int(found[2]), int(found[1]))


def _box(kind: bytes, skip: int, transposed: bool) -> Callable[[memoryview], Size | None]:
    """Reads the first box of that kind, as JPEG 2000 and AVIF have them."""

    def read(data: memoryview) -> Size | None:
        place = bytes(data[:65536]).find(kind)
        if place < 0:
            return None
        one, two = (_number(data, place + len(kind) + skip + 4 * k, 4, "big") for k in (0, 1))
        return (two, one) if transposed else (one, two)

    return read


_READERS: tuple[tuple[bytes, Callable[[memoryview], Size | None]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"\xff\xd8", _jpeg),
    (rb"GIF8", _gif),
    (rb"BM", _bmp),
    (rb"RIFF....WEBP", _webp),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"P[1-7Ff]\s", _netpbm),
    (rb"\x59\xa6\x6a\x95", _sun_raster),
    (rb"#\?R", _radiance),
    (rb"\0\0\0\x0cjP", _box(b"ihdr", 0, True)),
    (rb"....ftypavi", _box(b"ispe", 4, False)),
)
