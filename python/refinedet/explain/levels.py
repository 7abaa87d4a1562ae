"""Where an anchor, a cell and a point of a feature map lie in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..detectors import Detector


@dataclass(frozen=True)
class Level:
    """A feature map of the pyramid, and its share of the anchors.

    rows, columns: cells of the map. per_cell: anchors of a cell. start: the first of the level's anchors.
    step: (across, down), from one cell to the next as fractions of the input's width and height. Where the map is
        larger than the input over the stride, its last cells hang over the border.
    stride: the same in pixels of the input, rounded, for people to read.
    """

    rows: int
    columns: int
    per_cell: int
    start: int
    step: tuple[float, float]
    stride: int

    @property
    def anchors(self) -> int:
        return self.rows * self.columns * self.per_cell

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + self.anchors)

    def cells(self, values: np.ndarray) -> np.ndarray:
        """Of all anchors' values (A,): this level's as (rows, columns, per_cell)."""
        return values[self.slice].reshape(self.rows, self.columns, self.per_cell)

    def cell_of(self, anchor: int) -> tuple[int, int]:
        """(row, column) of one of this level's anchors, counted over all levels."""
        return divmod((anchor - self.start) // self.per_cell, self.columns)

    def fractions(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2), x and y in pixels of this map, whose centers are whole numbers, as fractions of the input.

        The center of cell (row, column) is the center of its anchors where these stand in the middle of their cells.
        """
        return (points + 0.5) * np.array(self.step)


def levels_of(model: Detector, map_sizes: Sequence[tuple[int, int]], input_size: tuple[int, int]) -> list[Level]:
    """The levels of a detector whose maps have these sizes (height, width) for an input of so many (height, width)."""
    height, width = input_size
    found: list[Level] = []
    start = 0
    for (rows, columns), anchors in zip(map_sizes, model.anchor_generator.levels, strict=True):
        down = height / rows if anchors.step is None else anchors.step
        across = width / columns if anchors.step is None else anchors.step
        found.append(Level(rows, columns, anchors.per_cell, start, (across / width, down / height), round(across)))
        start += found[-1].anchors
    return found


def level_of(levels: Sequence[Level], anchor: int) -> int:
    """Which level an anchor belongs to."""
    return next(i for i, level in enumerate(levels) if anchor < level.start + level.anchors)
