"""What the pictures of an analysis share: colours that colour-blind readers tell apart, and how panels are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..figures import INK, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CORRECT = "#e4e4e4"
CORRECT_TOO = "#bdbdbd"
RECALL_COLOR = "#111111"
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
KIND_COLORS = {
    "localisation": "#56b4e9",
    "similar": "#e69f00",
    "other": "#cc79a7",
    "classification": "#cc79a7",
    "both": "#009e73",
    "duplicate": "#f0e442",
    "background": "#0072b2",
    "missed": "#d55e00",
}
"""One colour for one kind of error in all pictures (the palette of Okabe and Ito)."""


def grid_of_panels(
    count: int, *, rows: int = 1, width: float, height: float, most_columns: int
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with `count` columns of `rows` panels each, wrapped after most_columns; the panels by column.

    width, height: of a panel, in inches.
    """
    across = min(count, most_columns)
    down = -(-count // across)
    figure = new_figure(max(6.4, width * across), height * rows * down + 0.7)
    columns = []
    for number in range(count):
        block, place = divmod(number, across)
        columns.append(
            [figure.add_subplot(rows * down, across, (block * rows + r) * across + place + 1) for r in range(rows)]
        )
    for panel in (panel for column in columns for panel in column):
        clean(panel)
        panel.title.set_color(INK)
    return figure, columns


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """The legend of some axes below the whole figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def plain(text: str, most: int = 24) -> str:
    """A name as it is drawn: cut to a length, without Matplotlib's formulas."""
    return (text if len(text) <= most else f"{text[: most - 1]}\u2026").replace("$", r"\$")


def save(figure: Figure, path: str | Path) -> None:
    figure.savefig(path, facecolor="white")
