"""Images that are in a data set more than once: the same file, or nearly the same picture."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

BITS = 64
MOST_BITS_APART = 6
MOST_APART = 0.15
_SIDE = 24  # of the thumbnails
_BLOCK = 2048


@dataclass(frozen=True)
class Fingerprint:
    """digest: of the file's bytes. bits: (64,) bool, whether brightness rises from each cell of a grid of 8 x 8 to the
    next ("dHash"). thumbnail: (24, 24) float32, grey, of mean 0."""

    digest: bytes
    bits: np.ndarray
    thumbnail: np.ndarray


def fingerprint(path: str | Path, image: np.ndarray) -> Fingerprint:
    """Of a file and its pixels, (H, W, 3) uint8 BGR. Raises OSError."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    thumbnail = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    digest = hashlib.sha256(Path(path).read_bytes()).digest()
    return Fingerprint(digest, (cells[:, 1:] > cells[:, :-1]).ravel(), thumbnail - thumbnail.mean())


@dataclass(frozen=True)
class Duplicates:
    """pairs of positions (first, second), first < second; exact: the same bytes; near: others that look the same."""

    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]


def find_duplicates(prints: Sequence[Fingerprint]) -> Duplicates:
    """Which of the images are the same.

    exact has each copy once, with the first image that it is a copy of. near has every two images that differ in up to
    6 of the 64 bits and whose thumbnails, apart from overall brightness, differ on average by 15 % of their contrast
    at most: an image that was resized, compressed again, or made a little brighter; not one that was cropped or
    mirrored. Copies of one file are looked at once. The time is quadratic in the number of images.
    """
    first_of: dict[bytes, int] = {}
    exact = []
    for position, one in enumerate(prints):
        first = first_of.setdefault(one.digest, position)
        if first != position:
            exact.append((first, position))
    distinct = np.array(sorted(first_of.values()), np.int64)
    near = [(int(distinct[a]), int(distinct[b])) for a, b in _near([prints[i] for i in distinct])]
    return Duplicates(exact, near)


def _near(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    if not prints:
        return
    signs = np.stack([one.bits for one in prints]).astype(np.float32) * 2 - 1
    thumbnails = np.stack([one.thumbnail for one in prints])
    contrast = thumbnails.std(axis=(1, 2))
    for top in range(0, len(prints), _BLOCK):
        for left in range(top, len(prints), _BLOCK):
            # The product counts bits that agree less those that differ.
            apart = (BITS - signs[top : top + _BLOCK] @ signs[left : left + _BLOCK].T) / 2
            rows, columns = np.nonzero(apart <= MOST_BITS_APART)
            rows, columns = rows + top, columns + left
            ahead = rows < columns
            rows, columns = rows[ahead], columns[ahead]
            for start in range(0, len(rows), _BLOCK):
                a, b = rows[start : start + _BLOCK], columns[start : start + _BLOCK]
                difference = np.abs(thumbnails[a] - thumbnails[b]).mean(axis=(1, 2))
                same = difference <= 0.5 + MOST_APART * (contrast[a] + contrast[b]) / 2  # 0.5: of compression
                yield from zip(a[same].tolist(), b[same].tolist(), strict=True)


def copies_between(pairs: Sequence[tuple[int, int]], parts: Sequence[str]) -> dict[tuple[str, str], int]:
    """How many images of a part have a copy in another one, or in their own, by (part, other part).

    parts: the part of every image. Of a pair within a part the second counts.
    """
    having: dict[tuple[str, str], set[int]] = defaultdict(set)
    for first, second in pairs:
        if parts[first] == parts[second]:
            having[parts[first], parts[first]].add(second)
        else:
            having[parts[first], parts[second]].add(first)
            having[parts[second], parts[first]].add(second)
    return {key: len(images) for key, images in having.items()}
