"""Silhouettes of the demo data set's classes: outlines as polygons, drawn to smooth masks."""

from __future__ import annotations

import cv2
import numpy as np

from ..checks import check_choice

_CURVE = 72  # corners of a round outline; at 200 pixels its chords leave the circle by 0.1
_FINE = 4  # side of the finer grid's cells in a pixel
_SUBPIXEL = 6  # fractional bits of OpenCV's polygon corners


def _disc() -> list[np.ndarray]:
    return [_regular(_CURVE)]


def _square() -> list[np.ndarray]:
    return [np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])]


def _triangle() -> list[np.ndarray]:
    return [_regular(3)]


def _star() -> list[np.ndarray]:
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return [_regular(10) * radius[:, None]]


def _ring() -> list[np.ndarray]:
    return [_regular(_CURVE), 0.52 * _regular(_CURVE)]


def _cross() -> list[np.ndarray]:
    arm = 0.33
    quarter = np.array([[arm, arm], [arm, 1.0], [-arm, 1.0]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return [np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])]


_OUTLINES = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
}
SHAPE_CLASSES: tuple[str, ...] = tuple(_OUTLINES)


def shape_mask(name: str, size: float, angle: float = 0.0, stretch: float = 1.0) -> np.ndarray:
    """How much of each pixel a shape covers: (H, W) uint8, 0 to 255, with an empty rim.

    size: the longer side of the shape's box in pixels. angle: radians. stretch: how much longer
    one of the shape's own axes is than the other, before it is turned.
    """
    check_choice(name, "name", tuple(_OUTLINES))
    if not size >= 4:
        raise ValueError(f"size: expected at least 4 pixels, got {size}")
    if not stretch > 0:
        raise ValueError(f"stretch: expected a number above 0, got {stretch}")
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outlines = [(o * [stretch, 1.0]) @ turn for o in _OUTLINES[name]()]
    corners = np.concatenate(outlines)
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    scale = size / extent.max()
    rim = 2.0
    width, height = np.ceil(extent * scale + 2 * rim).astype(int)
    # OpenCV fills the pixels on the outline too, and its smooth lines are wider still: drawn on a finer
    # grid and averaged, that stays below a quarter of a pixel
    fine = np.zeros((height * _FINE, width * _FINE), np.uint8)
    placed = [((o - low) * scale + rim) * _FINE - 0.5 for o in outlines]  # pixel centers are integers
    corners_of = [np.round(points * 2**_SUBPIXEL).astype(np.int32) for points in placed]
    cv2.fillPoly(fine, corners_of, 255, cv2.LINE_8, _SUBPIXEL)  # even-odd: an inner outline is a hole
    return cv2.resize(fine, (int(width), int(height)), interpolation=cv2.INTER_AREA)


def _regular(corners: int) -> np.ndarray:
    """The corners of a regular polygon about the origin, (N, 2), the first one to the top."""
    turn = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.sin(turn), -np.cos(turn)], axis=1)
