"""The checks that every ground-truth box goes through, whatever format it came in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .report import ProblemKind


class CheckedBoxes(NamedTuple):
    """boxes (N, 4) float64, clipped; usable (N,) bool; problems: the rows that have one, by kind."""

    boxes: np.ndarray
    usable: np.ndarray
    problems: dict[ProblemKind, np.ndarray]


def check_boxes(boxes: np.ndarray, sizes: np.ndarray) -> CheckedBoxes:
    """Sorts boxes into good ones, ones to clip and ones of no use.

    boxes (N, 4): (x1, y1, x2, y2) in pixels; sizes (N, 2) or (2,): (width, height) of the image.
    A box has at most one problem, the first of: a coordinate that is not finite, no area (x2 <= x1
    or y2 <= y1), fractions (within the first pixel of an image of at least 16 x 16, and not all
    integers), wholly outside (no area in common with the image), partly outside. Only the last
    leaves the box usable, clipped.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    limits = np.broadcast_to(np.concatenate([sizes, sizes], axis=-1), boxes.shape)
    finite = np.asarray(np.isfinite(boxes).all(axis=1))
    clean = np.where(finite[:, None], boxes, 0.0)
    x1, y1, x2, y2 = clean[:, 0], clean[:, 1], clean[:, 2], clean[:, 3]
    no_area = finite & ((x2 <= x1) | (y2 <= y1))
    width, height = limits[:, 0], limits[:, 1]
    within_one = ((clean >= 0) & (clean <= 1)).all(axis=1) & (clean % 1 != 0).any(axis=1)
    fractions = within_one & finite & ~no_area & (width >= 16) & (height >= 16)
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
    outside &= finite & ~no_area
    usable = finite & ~no_area & ~outside & ~fractions
    clipped = np.clip(clean, 0.0, limits)
    partly = usable & (clipped != clean).any(axis=1)
    found = {
        ProblemKind.NON_FINITE: ~finite,
        ProblemKind.NO_AREA: no_area,
        ProblemKind.FRACTIONS: fractions,
        ProblemKind.OUTSIDE_IMAGE: outside,
        ProblemKind.PARTLY_OUTSIDE: partly,
    }
    problems = {kind: np.flatnonzero(mask) for kind, mask in found.items() if mask.any()}
    return CheckedBoxes(clipped, usable, problems)


def describe(kind: ProblemKind, box: np.ndarray, size: tuple[int, int] | np.ndarray) -> str:
    """One phrase on what is wrong with a box of pixels in an image of (width, height)."""
    numbers = "(" + ", ".join(f"{value:g}" for value in box) + ")"
    if kind is ProblemKind.NON_FINITE:
        return f"box {numbers} has a coordinate that is not finite"
    if kind is ProblemKind.NO_AREA:
        return f"box {numbers} has no area"
    if kind is ProblemKind.FRACTIONS:
        return f"box {numbers} has fractions of the image where pixels belong"
    where = "wholly" if kind is ProblemKind.OUTSIDE_IMAGE else "partly"
    return f"box {numbers} lies {where} outside the image of {size[0]} x {size[1]} pixels"
