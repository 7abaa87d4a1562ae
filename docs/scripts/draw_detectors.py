"""Draws docs/detectors/*.svg, the papers' figures with the names of the code: python docs/scripts/draw_detectors.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

sys.path.append(str(Path(__file__).parent / "draw_ops"))

from card import BLUE, GREEN, INK, ORANGE, PINK, QUIET, WIDTH, arrow, card, style

FOLDER = Path(__file__).parents[1] / "detectors"
UNITS = 44 / WIDTH  # of a drawing an inch
ROW = 5.4  # from one level to the next
UP, DOWN = "up", "down"


@dataclass(frozen=True)
class Column:
    """One module of every level.

    title: the paper's word. cells: per level its name in the code, or the map it gives; "" for none.
    source: index of the column that it reads; of one that is not its neighbour, the arrow passes below what is between.
    chain: each level also reads that below ("up") or above ("down") it.
    """

    title: str
    cells: Sequence[str]
    color: str
    source: int | None = None
    chain: str | None = None


def drawing(rows: int) -> tuple[Figure, Axes]:
    height = (9.5 + rows * ROW + 14.2) / UNITS
    figure, (axes,) = card(height)
    figure.set_layout_engine("none")
    axes.set_position((0.01, 0, 0.98, 1))
    axes.set(xlim=(0, 44), ylim=(height * UNITS, 0))
    axes.axis("off")
    return figure, axes


def block(axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str) -> None:
    """A module around (x, y)."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.5",
            facecolor="white",
            edgecolor=color,
            linewidth=1.3,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=7, family="DejaVu Sans Mono", color=INK, linespacing=1.25)


def levels(axes: Axes, columns: Sequence[Column], top: float) -> list[float]:
    """The modules of all levels, the finest first; returns the columns' middles."""
    pitch = 44 / len(columns)
    width = pitch - 2.2
    middles = [pitch * (index + 0.5) for index in range(len(columns))]
    passed = {index for column in columns for index in range((column.source or 0) + 1, columns.index(column))}
    for index, (column, x) in enumerate(zip(columns, middles, strict=True)):
        axes.text(x, top, column.title, ha="center", va="center", fontsize=8, fontweight="bold", color=column.color)
        # what an arrow passes below stands a little higher
        height, shift = (3.0, -0.9) if index in passed and column.source is not None else (4.0, 0.0)
        for level, text in enumerate(column.cells):
            y = top + 4.2 + level * ROW
            if not text:
                continue
            block(axes, x, y + shift, width, height, text, column.color)
            if column.source is not None and columns[column.source].cells[level]:
                near = index - column.source == 1
                way = y + shift if near else y + 1.35
                arrow(axes, (middles[column.source] + width / 2, way), (x - width / 2, way))
            last = level == len(column.cells) - 1
            ends = (x, y + 2.0), (x, y + ROW - 2.0)
            if column.chain and not last:
                # PADet's topmost level has no map of its own: it is made of the one below
                down = column.chain == DOWN or (column.source == 0 and not columns[0].cells[level + 1])
                arrow(axes, *(ends if down else ends[::-1]))
    return middles


def outputs(axes: Axes, first: float | None, second: float, top: float) -> None:
    """From both stages' outputs, whose columns end at `top`, to the loss and to detections."""
    y = top + 5.2
    if first is not None:
        arrow(axes, (first, top + 0.6), (first, y - 1.8), ORANGE)
    arrow(axes, (second, top + 0.6), (second, y - 1.8), PINK)
    block(axes, 22, y, 41, 3.6, "HeadOutputs(arm_logits, arm_deltas,\nodm_logits, odm_deltas, anchors)", QUIET)
    for x, title, text in (
        (11.8, "training", "MultiBoxLoss: match,\nfilter, mine, both losses"),
        (32.2, "inference", "rx.detect: filter,\ndecode twice, suppress"),
    ):
        arrow(axes, (x, y + 1.8), (x, y + 4.4))
        axes.text(x + 0.8, y + 3.0, title, va="center", fontsize=7, color=QUIET)
        block(axes, x, y + 6.4, 19.6, 4.0, text, QUIET)


def head(axes: Axes, text: str, x: float, width: float, to: float) -> None:
    """The backbone above the levels, which reads the images and leads to the column at `to`."""
    axes.text(1.0, 2.6, "images", va="center", fontsize=8, fontweight="bold", color=INK)
    block(axes, x, 2.6, width, 2.6, text, BLUE)
    arrow(axes, (6.3, 2.6), (x - width / 2, 2.6))
    arrow(axes, (8.0, 3.9), (to, 6.0))


def refinedet() -> Figure:
    figure, axes = drawing(4)
    columns = (
        Column("maps", [f"{n}x{n}x{c}" for n, c in zip((40, 20, 10, 5), (512, 512, 1024, 512), strict=True)], BLUE),
        Column("ARM", [f"arm.cls[{i}]\narm.loc[{i}]" for i in range(4)], ORANGE, source=0),
        Column("TCB", [f"tcb\n.blocks[{i}]" for i in range(4)], GREEN, source=0, chain=UP),
        Column("ODM", [f"odm.cls[{i}]\nodm.loc[{i}]" for i in range(4)], PINK, source=2),
    )
    middles = levels(axes, columns, 7.0)
    head(axes, "backbone, norms", 14.4, 15, middles[0])
    outputs(axes, middles[1], middles[3], 7.0 + 4.2 + 3 * ROW + 2.2)
    return figure


def efgrnet() -> Figure:
    figure, axes = drawing(4)
    columns = (
        Column("maps", [f"norms[{i}]" for i in range(4)], BLUE),
        Column("enrichment", [f"objectness\n.fuse[{i}]" for i in range(4)], GREEN, source=0, chain=DOWN),
        Column("ARM", [f"arm.cls[{i}]\narm.loc[{i}]" for i in range(4)], ORANGE, source=1),
        Column("FGRM", [f"fgrm[{i}]" for i in range(4)], GREEN, source=1),
        Column("ODM", [f"odm.cls[{i}]\nodm.loc[{i}]" for i in range(4)], PINK, source=3),
    )
    middles = levels(axes, columns, 7.0)
    head(axes, "backbone", 12.0, 8, middles[0])
    block(axes, 26.5, 2.6, 15, 2.6, "enrichment.mscf", GREEN)
    axes.plot([6.9, 6.9, 17.4], [2.6, 0.7, 0.7], color=INK, linewidth=1.2)
    arrow(axes, (17.4, 0.7), (18.9, 1.8))
    arrow(axes, (19.5, 3.9), (middles[1], 6.0))
    for level in range(4):  # what the ARM says moves the FGRM's taps
        y = 7.0 + 4.2 + level * ROW - 0.9
        arrow(axes, (middles[2] + 3.3, y), (middles[3] - 3.3, y), ORANGE)
    outputs(axes, middles[2], middles[4], 7.0 + 4.2 + 3 * ROW + 2.2)
    return figure


def refinedetlite() -> Figure:
    figure, axes = drawing(4)
    shapes = zip((20, 10, 5, 3), (576, 1152, 512, 512), strict=True)
    columns = (
        Column("maps", [f"{n}x{n}x{c}" for n, c in shapes], BLUE),
        Column("ARM", [f"arm\n.blocks[{i}]" for i in range(4)], ORANGE, source=0),
        Column("fusion", [f"fusion\n.laterals[{i}]" for i in range(4)], GREEN, source=0, chain=UP),
        Column("ODM", [f"odm\n.blocks[{i}]" for i in range(4)], PINK, source=2),
    )
    middles = levels(axes, columns, 7.0)
    head(axes, "backbone", 14.4, 15, middles[0])
    outputs(axes, middles[1], middles[3], 7.0 + 4.2 + 3 * ROW + 2.2)
    return figure


def padet() -> Figure:
    figure, axes = drawing(6)
    columns = (
        Column("encoder", [f"E{i}: {n}x{n}" for i, n in enumerate((48, 24, 12, 6, 3), 1)] + [""], BLUE),
        Column("decoder", [f"decoder\n.smooth[{i}]" for i in range(6)], GREEN, source=0, chain=UP),
        Column("APM", [f"apm.cls[{i}]\napm.loc[{i}]" for i in range(6)], ORANGE, source=1),
        Column("FAM", [f"towers[{i}]\nfam[{i}]" for i in range(4)] + [f"towers[{i}]" for i in (4, 5)], GREEN, source=1),
        Column("detection", [f"detection\n.cls[{i}]" for i in range(6)], PINK, source=3),
    )
    middles = levels(axes, columns, 7.0)
    head(axes, "backbone", 14.4, 15, middles[0])
    for level in range(4):  # what the promotion says moves the features
        y = 7.0 + 4.2 + level * ROW - 0.9
        arrow(axes, (middles[2] + 3.3, y), (middles[3] - 3.3, y), ORANGE)
    outputs(axes, middles[2], middles[4], 7.0 + 4.2 + 5 * ROW + 2.2)
    return figure


def main(folder: Path) -> None:
    for draw in (refinedet, efgrnet, refinedetlite, padet):
        with style():
            draw().savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
