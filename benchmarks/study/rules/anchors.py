"""Tiled anchors: SSD's prior boxes as RefineDet, EFGRNet, RefineDetLite and PADet use them.

A cell of a level with step t has its center at (column + offset) t, (row + offset) t pixels. Its boxes are the square
of the level's size; where a max size is given, the square of the geometric mean of both; then for each ratio r a box r
times as wide as high and one as high as the first is wide, both with the area of the square. All coordinates are
fractions of the input's sides. Order: level, row, column, box of the cell.

Clipping, which EFGRNet and other ports do and the original does not, limits center and sides, not the corners, to 0..1:
it shortens a box that is longer than the input, and moves no other.
"""

from __future__ import annotations

import math
from typing import Any


def run(given: dict[str, Any]) -> dict[str, Any]:
    height, width = given["image"]
    boxes: list[list[float]] = []
    for level, (rows, columns) in zip(given["levels"], given["maps"], strict=True):
        for row in range(rows):
            for column in range(columns):
                step_x = width / columns if level["step"] is None else level["step"]
                step_y = height / rows if level["step"] is None else level["step"]
                center_x = (column + given["offset"]) * step_x / width
                center_y = (row + given["offset"]) * step_y / height
                for side_x, side_y in cell(level):
                    numbers = [center_x, center_y, side_x / width, side_y / height]
                    if given["clip"]:
                        numbers = [min(max(number, 0.0), 1.0) for number in numbers]
                    x, y, w, h = numbers
                    boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    if "rows" not in given:
        return {"count": len(boxes), "boxes": boxes}
    return {"count": len(boxes), "boxes": [boxes[row] for row in given["rows"]]}


def cell(level: dict[str, Any]) -> list[tuple[float, float]]:
    """Width and height in pixels of the boxes of one cell."""
    size = level["size"]
    sides = [(size, size)]
    if level["max_size"] is not None:
        middle = math.sqrt(size * level["max_size"])
        sides.append((middle, middle))
    for ratio in level["ratios"]:
        long, short = size * math.sqrt(ratio), size / math.sqrt(ratio)
        sides.append((long, short))
        sides.append((short, long))
    return sides
