"""What the drawings share: a light card, which reads on light and dark pages, no wider than a phone shows in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

WIDTH = 4.4  # inches, 422 pixels of CSS: on a phone of 390 the text shrinks by a fifth
INK, QUIET, PAPER, EDGE = "#22262b", "#5f6770", "#f7f8fa", "#d5dae0"
BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#d55e00", "#00795a", "#b0568c", "#9aa2ab"

PLATE = {"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.6}  # under text that lies on lines

# The hash salt and no date: the same file in every run.
STYLE = {
    "svg.hashsalt": "refinedet_ext",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}


@contextmanager
def style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE):
        yield


def card(height: float, rows: int = 1, columns: int = 1, **grid: object) -> tuple[Figure, list[Axes]]:
    """A figure of `height` inches on a card, and its panels row by row."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.11, h_pad=0.1)
    figure.patch.set_alpha(0)
    edge = 0.006
    figure.add_artist(
        FancyBboxPatch(
            (edge, edge),
            1 - 2 * edge,
            1 - 2 * edge,
            boxstyle="round,pad=0,rounding_size=0.02",
            mutation_aspect=WIDTH / height,
            transform=figure.transFigure,
            facecolor=PAPER,
            edgecolor=EDGE,
            zorder=-10,
        )
    )
    panels = figure.subplots(rows, columns, squeeze=False, gridspec_kw=grid).ravel().tolist()
    for panel in panels:
        panel.patch.set_alpha(0)
    return figure, panels


def image_axes(axes: Axes, width: float, height: float, title: str = "") -> None:
    """Axes in pixels, y downwards, without ticks."""
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.set_title(title)


def plot_axes(axes: Axes, title: str = "") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(title)


def bare(axes: Axes, title: str = "") -> None:
    axes.axis("off")
    axes.set_title(title)


def box(
    axes: Axes,
    xyxy: Sequence[float],
    color: str,
    text: str = "",
    *,
    place: str = "top",
    dashed: bool = False,
    fill: float = 0.0,
    width: float = 1.6,
) -> None:
    """A box, with text at its left side: inside at the "top" or "bottom", or "above" or "below" it."""
    x1, y1, x2, y2 = (float(value) for value in xyxy)
    if fill:
        axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor=color, alpha=fill, linewidth=0))
    line = "--" if dashed else "-"
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=width, linestyle=line))
    inside = place in ("top", "bottom")
    up = place in ("bottom", "above")
    corner = (x1, y1 if place in ("top", "above") else y2)
    shift = (3 if inside else 0, 2 if up else -2)
    axes.annotate(
        text,
        corner,
        shift,
        textcoords="offset points",
        color=color,
        va="bottom" if up else "top",
        fontsize=8,
        fontweight="bold",
        bbox=PLATE,
    )


def arrow(
    axes: Axes, start: Sequence[float], end: Sequence[float], color: str = INK, *, bend: float = 0.0, width: float = 1.2
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (float(start[0]), float(start[1])),
            (float(end[0]), float(end[1])),
            arrowstyle="-|>",
            mutation_scale=8,
            shrinkA=0,
            shrinkB=0,
            color=color,
            linewidth=width,
            connectionstyle=f"arc3,rad={bend}",
            zorder=5,
        )
    )


def cells(
    axes: Axes,
    values: Sequence[Sequence[object]],
    corner: tuple[float, float] = (0, 0),
    *,
    size: float = 1.0,
    colors: Sequence[Sequence[str | None]] | None = None,
    ink: str = INK,
) -> None:
    """A grid of squares with their values, y downwards."""
    for r, row in enumerate(values):
        for c, value in enumerate(row):
            color = colors[r][c] if colors else None
            x, y = corner[0] + c * size, corner[1] + r * size
            axes.add_patch(Rectangle((x, y), size, size, facecolor=color or "white", edgecolor=QUIET, linewidth=0.8))
            axes.text(x + size / 2, y + size / 2, str(value), ha="center", va="center", color=ink, fontsize=8)
