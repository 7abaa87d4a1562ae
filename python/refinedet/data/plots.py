"""Plots of a data set, by Matplotlib without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..figures import INK, clean, new_figure
from .statistics import SIZE_LIMITS, Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#3366aa", "#dd7722", "#2a9d55")
_MOST_CLASSES = 60
_GRID = 64  # cells a side of the map of positions


def plot_classes(parts: Mapping[str, Statistics], names: Sequence[str], path: str | Path) -> None:
    """Draws how many objects every class has in every part, the most frequent first; of more than 60 classes the most
    and the least frequent.

    names: of the C classes, in any language.
    """
    total = sum(one.per_class for one in parts.values())
    order = np.argsort(-np.asarray(total), kind="stable")
    shown = order if len(order) <= _MOST_CLASSES else np.concatenate([order[:30], order[-30:]])
    figure = new_figure(8.0, 1.3 + 0.26 * len(shown))
    axes = figure.add_subplot()
    rows = np.arange(len(shown))
    left = np.zeros(len(shown))
    for (part, one), color in zip(parts.items(), _COLORS, strict=False):
        axes.barh(rows, one.per_class[shown], left=left, height=0.72, color=color, label=part)
        left += one.per_class[shown]
    for row, count in zip(rows, left, strict=True):
        axes.annotate(f"{count:,.0f}", (count, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(rows, [""] * len(rows))
    for row, position in zip(rows, shown, strict=True):
        _write_name(axes, names[position], float(row))
    if len(shown) < len(order):
        axes.axhline(29.5, color=INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="objects", ylim=(len(shown) - 0.4, -0.6), xlim=(0, max(1.0, left.max()) * 1.12))
    title = "Objects of every class"
    if len(shown) < len(order):
        title += f"\nthe 30 most and the 30 least frequent of {len(order)}"
    axes.set_title(title, loc="left", color=INK)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(parts), borderaxespad=0)
    clean(axes)
    figure.savefig(path, facecolor="white")


def plot_boxes(parts: Mapping[str, Statistics], input_size: int, path: str | Path) -> None:
    """Draws the boxes' sizes in pixels of the network's input, their aspect ratios, where they lie, and how many an
    image has."""
    figure = new_figure(10.0, 7.6)
    sides, ratios, positions, counts = figure.subplots(2, 2).ravel()
    for axes, name, unit in ((sides, "sides", 16.0), (ratios, "ratios", 1.0)):
        values = {part: getattr(one, name) for part, one in parts.items()}
        flat = np.concatenate(list(values.values()))
        low, high = (float(flat.min()), float(flat.max())) if len(flat) else (unit, unit)
        edges = np.geomspace(max(low, 1e-3) * 0.99, max(high, 1e-3) * 1.01, 41)
        for (part, one), color in zip(values.items(), _COLORS, strict=False):
            weights = np.full(len(one), 100 / max(1, len(one)))
            axes.hist(one, edges, weights=weights, histtype="step", color=color, linewidth=1.6, label=part)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}")
        axes.set_ylabel("% of the boxes")
        axes.legend(frameon=False, fontsize=8)
    for limit, text in zip(SIZE_LIMITS, ("medium from here", "large from here"), strict=True):
        sides.axvline(limit, color=INK, linewidth=0.8, linestyle=":")
        sides.annotate(
            text, (limit, 1), (2, -3), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7,
            rotation=90, va="top",
        )  # fmt: skip
    sides.set_xlabel(f"side of a square as large as the box, pixels of an input of {input_size}")
    sides.set_title("Sizes", loc="left", color=INK)
    ratios.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    ratios.set_xlabel("width / height, as the network sees it")
    ratios.set_title("Aspect ratios", loc="left", color=INK)
    heat = position_map(np.concatenate([one.boxes for one in parts.values()]) / input_size)
    shown = positions.imshow(heat, extent=(0, 1, 1, 0), cmap="viridis", vmin=0, aspect="auto")
    figure.colorbar(shown, ax=positions, label="boxes that cover a point")
    positions.set(xlabel="across the image", ylabel="down the image")
    positions.set_title("Positions", loc="left", color=INK)
    most = max((int(one.per_image.max(initial=0)) for one in parts.values()), default=0)
    edges = np.linspace(-0.5, most + 0.5, min(most + 2, 61))
    for (part, one), color in zip(parts.items(), _COLORS, strict=False):
        weights = np.full(len(one.per_image), 100 / max(1, len(one.per_image)))
        counts.hist(
            one.per_image, edges, weights=weights, histtype="step", color=color, linewidth=1.6, label=part
        )  # fmt: skip
    counts.set(xlabel="objects in an image", ylabel="% of the images")
    counts.set_title("Objects per image", loc="left", color=INK)
    counts.legend(frameon=False, fontsize=8)
    for axes in (sides, ratios, counts):
        clean(axes)
    figure.savefig(path, facecolor="white")


def position_map(boxes: np.ndarray) -> np.ndarray:
    """(64, 64): how many of the boxes (N, 4), fractions of the image, cover the middle of each cell of a grid."""
    # Corners of a box as steps of a double sum: one pass, however large the boxes are.
    steps = np.zeros((_GRID + 1, _GRID + 1))
    x1, y1, x2, y2 = np.clip(np.ceil(boxes * _GRID - 0.5), 0, _GRID).astype(np.int64).T
    for y, x, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        np.add.at(steps, (y, x), sign)
    heat: np.ndarray = steps.cumsum(axis=0).cumsum(axis=1)[:_GRID, :_GRID]
    return heat


def _write_name(axes: Axes, name: str, row: float) -> None:
    """A class name beside its bar."""
    shown = name if len(name) <= 30 else name[:29] + "\u2026"
    place: Any = {"xycoords": axes.get_yaxis_transform(), "annotation_clip": False}
    if _has_glyphs(shown):
        axes.annotate(
            shown, (0, row), (-6, 0), textcoords="offset points", ha="right", va="center", fontsize=9, color=INK,
            parse_math=False, **place,
        )  # fmt: skip
        return
    # Matplotlib's own font has no Chinese, for one; OpenCV 5 brings fonts for most scripts.
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    (width, height), base = cv2.getTextSize(shown, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 2)
    image = np.full((height + base + 16, width + 8, 3), 255, np.uint8)
    cv2.putText(image, shown, (2, height + 8), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (51, 51, 51), 2, cv2.LINE_AA)
    box = OffsetImage(image, zoom=0.36, resample=True, interpolation="hanning")
    axes.add_artist(
        AnnotationBbox(
            box, (0, row), (-3, 0), boxcoords="offset points", box_alignment=(1, 0.5), frameon=False, **place
        )
    )


def _has_glyphs(text: str) -> bool:
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    return all(char.isspace() or font.get_char_index(ord(char)) for char in text)
