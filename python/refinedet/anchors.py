"""Tiled anchors (default boxes): which boxes stand in every cell of every level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AnchorLevel:
    """The boxes of one cell of one pyramid level.

    Args:
        size: side of the square box, in pixels of the network's input.
        step: distance of neighbouring cells in pixels; None is the input's side over the map's side.
        max_size: if given, a second square box of side sqrt(size * max_size) follows the first.
        ratios: for every entry r a box of width:height r and one of 1/r, of the same area as the square.
    """

    size: float
    step: float | None = None
    max_size: float | None = None
    ratios: tuple[float, ...] = (2.0,)

    def __post_init__(self) -> None:
        if not self.size > 0:
            raise ValueError(f"size: expected a positive number of pixels, got {self.size}")
        if self.step is not None and not self.step > 0:
            raise ValueError(f"step: expected a positive number of pixels or None, got {self.step}")
        if self.max_size is not None and not self.max_size > 0:
            raise ValueError(f"max_size: expected a positive number of pixels or None, got {self.max_size}")
        if not all(ratio > 0 for ratio in self.ratios):
            raise ValueError(f"ratios: expected positive numbers, got {self.ratios}")

    def shapes(self) -> list[tuple[float, float]]:
        """(width, height) of the boxes of one cell, in pixels and in their order."""
        shapes = [(self.size, self.size)]
        if self.max_size is not None:
            side = math.sqrt(self.size * self.max_size)
            shapes.append((side, side))
        for ratio in self.ratios:
            wide, narrow = self.size * math.sqrt(ratio), self.size / math.sqrt(ratio)
            shapes += [(wide, narrow), (narrow, wide)]
        return shapes

    @property
    def per_cell(self) -> int:
        return 1 + (self.max_size is not None) + 2 * len(self.ratios)


class AnchorGenerator:
    """Boxes for a list of levels, in the order in which the heads' outputs are flattened.

    The order is level, row, column, box of the cell; within a cell it is the square, the second square if there is one,
    then r and 1/r of each ratio. Column j of a level with step t has its center at (j + offset) * t.

    Args:
        levels: one `AnchorLevel` per pyramid level, the finest first.
        offset: position of the box center within its cell; 0.5 is the middle.
        clip: clamp (center x, center y, width, height), as fractions of the input, to [0, 1]. This is what PyTorch
            ports and EFGRNet's weights expect: it shortens sides above the input's and moves no corner otherwise. The
            original RefineDet does not clip.
    """

    def __init__(self, levels: Sequence[AnchorLevel], *, offset: float = 0.5, clip: bool = False) -> None:
        if not levels:
            raise ValueError("levels: expected at least one AnchorLevel, got none")
        self.levels = tuple(levels)
        self.offset = offset
        self.clip = clip

    @property
    def per_cell(self) -> tuple[int, ...]:
        """Boxes per cell of every level."""
        return tuple(level.per_cell for level in self.levels)

    def __call__(
        self,
        map_sizes: Sequence[tuple[int, int]],
        image_size: tuple[int, int],
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The anchors of feature maps.

        Args:
            map_sizes: (height, width) of every level's map.
            image_size: (height, width) of the network's input in pixels.

        Returns:
            (A, 4) float32, (x1, y1, x2, y2) as fractions of the input's width and height.
        """
        if len(map_sizes) != len(self.levels):
            raise ValueError(f"map_sizes: expected {len(self.levels)} levels, got {len(map_sizes)}: {list(map_sizes)}")
        height, width = image_size
        if height < 1 or width < 1:
            raise ValueError(f"image_size: expected positive (height, width), got {image_size}")
        parts = [
            self._level(level, rows, columns, height, width)
            for level, (rows, columns) in zip(self.levels, map_sizes, strict=True)
        ]
        return torch.cat(parts).float().to(device)

    def _level(self, level: AnchorLevel, rows: int, columns: int, height: int, width: int) -> Tensor:
        # double precision: a box is then the nearest float32 to the exact one, whatever the size
        step_y = height / rows if level.step is None else level.step
        step_x = width / columns if level.step is None else level.step
        shapes = torch.tensor(level.shapes(), dtype=torch.float64)
        size = shapes / torch.tensor([width, height], dtype=torch.float64)
        y = (torch.arange(rows, dtype=torch.float64) + self.offset) * (step_y / height)
        x = (torch.arange(columns, dtype=torch.float64) + self.offset) * (step_x / width)
        center = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)
        center = center[:, :, None].expand(-1, -1, len(shapes), -1)
        if self.clip:
            center, size = center.clamp(0, 1), size.clamp(0, 1)
        half = size.expand_as(center) * 0.5
        return torch.cat([center - half, center + half], dim=-1).reshape(-1, 4)
