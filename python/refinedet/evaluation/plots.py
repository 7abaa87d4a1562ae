"""Images of an evaluation and of a training run, by Matplotlib without a display."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures import INK, clean, new_figure
from .voc import PrecisionRecall, average_precision

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Ten colors told apart also by most color-blind readers; a line style is added beyond ten classes.
_COLORS = (
    "#3366aa",
    "#dd7722",
    "#2a9d55",
    "#c23b4b",
    "#8a5fb5",
    "#8c6d46",
    "#d070b0",
    "#6f7a80",
    "#9aa31c",
    "#1fa3b5",
)
_STYLES = ("-", "--", ":", "-.")
_MOST_IN_LEGEND = 24
_PANELS = ("loss", "accuracy", "average precision", "average recall", "anchors per step", "other", "learning rate")


def plot_precision_recall(
    curves: Mapping[str, PrecisionRecall], path: str | Path, *, title: str = "Precision and recall"
) -> None:
    """Draws the curve of every class into one PNG (or whatever the suffix of `path` says).

    Each curve is shown as its envelope, the highest precision at that recall or beyond, with its
    area in the legend, the best class first. Classes without objects are named there as such.
    Beyond 24 classes the legend shows the 12 best and the 12 worst.
    """
    figure = new_figure(8.0, 5.0)
    axes = figure.add_subplot()
    entries: list[tuple[float, str, Any]] = []
    for i, (name, curve) in enumerate(curves.items()):
        style: dict[str, Any] = {
            "color": _COLORS[i % len(_COLORS)],
            "linestyle": _STYLES[i // len(_COLORS) % len(_STYLES)],
        }
        if curve.objects == 0:
            (line,) = axes.plot([], [], linewidth=1.8, **style)
            entries.append((-1.0, f"{name}  no objects", line))
            continue
        ap = average_precision(curve.recall, curve.precision)
        envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
        # from recall 0 at the best precision, and down to 0 where the recall ends
        x = np.concatenate([[0.0], curve.recall, curve.recall[-1:]])
        y = np.concatenate([envelope[:1], envelope, np.zeros(min(1, len(envelope)))])
        if len(envelope) == 0:
            x, y = np.zeros(1), np.zeros(1)
        # vertical falls, as the area under the curve is counted
        (line,) = axes.plot(x, y, drawstyle="steps-pre", linewidth=1.8, **style)
        entries.append((ap, f"{name}  {ap:.3f}", line))
    entries.sort(key=lambda entry: -entry[0])
    measured = [ap for ap, _, _ in entries if ap >= 0]
    shown = entries
    if len(entries) > _MOST_IN_LEGEND:
        half = _MOST_IN_LEGEND // 2
        shown = entries[:half] + entries[-half:]
    if shown:
        mean = f"mean {sum(measured) / len(measured):.3f}" if measured else "no objects"
        legend = axes.legend(
            [line for _, _, line in shown],
            [text for _, text, _ in shown],
            title=f"class, area under curve\n({mean})",
            loc="center left",
            bbox_to_anchor=(1.02, 0.5),
            frameon=False,
            fontsize=9 if len(shown) <= 16 else 7,
            title_fontsize=9,
            alignment="left",
        )
        legend.get_title().set_color(INK)
    axes.set(xlim=(0, 1.005), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(title, loc="left", color=INK)
    clean(axes)
    _save(figure, path)


def plot_training_curves(
    log: str | Path | Sequence[str | Path], path: str | Path, *, x: str = "step", columns: Sequence[str] | None = None
) -> None:
    """Draws a CSV of logged metrics, as Lightning's CSVLogger writes it, in one image.

    log: one row per logging step; empty cells are values not logged then. Several are the parts of a run that was
    resumed: each counts from where it begins, and those before up to there. x: the column of the
    horizontal axis; values that are not finite are left out. columns: those to draw; None: all but
    `epoch` and `step`. Losses (by "loss" in the name), accuracies (top1, top5), average precisions
    (names with AP), average recalls (AR...), learning rates ("lr") and the rest have a panel each.
    A loss with more than 40 points is drawn faint, with its running mean over it. Raises ValueError
    where a column is missing or there is nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    logs = [Path(log)] if isinstance(log, (str, Path)) else [Path(part) for part in log]
    table = _join([_read_log(part, x) for part in logs])
    missing = [name for name in columns or () if name not in table]
    if missing:
        raise ValueError(f"columns: no numbers under {missing[0]!r} in {log}, has {list(table)}")
    panels: dict[str, list[str]] = {panel: [] for panel in _PANELS}
    for name in table if columns is None else columns:
        if columns is not None or name not in (x, "epoch", "step"):
            panels[_panel_of(name)].append(name)
    used = {panel: names for panel, names in panels.items() if names}
    if not used:
        raise ValueError(f"{log}: no numbers to draw beside {x!r}, has {list(table)}")
    figure = new_figure(8.0, 0.6 + 2.6 * len(used))
    for row, (panel, names) in enumerate(used.items(), start=1):
        first = figure.axes[0] if figure.axes else None
        axes = figure.add_subplot(len(used), 1, row, sharex=first)
        for i, name in enumerate(names):
            xs, ys = table[name]
            color = _COLORS[i % len(_COLORS)]
            style = _STYLES[i // len(_COLORS) % len(_STYLES)]
            marker = "o" if len(xs) <= 40 and panel != _PANELS[-1] else None
            if panel == "loss" and len(xs) > 40:
                axes.plot(xs, ys, color=color, linewidth=0.7, alpha=0.25)
                ys = _running_mean(ys, max(5, len(ys) // 30))
            axes.plot(xs, ys, style, color=color, linewidth=1.6, marker=marker, markersize=3, label=name)
        axes.set_ylabel(panel)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
        low = min(float(np.min(table[name][1])) for name in names)
        if low >= 0:
            axes.set_ylim(bottom=0)
        if row == len(used):
            axes.set_xlabel(x)
            if x in ("step", "epoch"):
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        clean(axes)
    _save(figure, path)


def _panel_of(column: str) -> str:
    last = re.split(r"[/.]", column)[-1]
    if "loss" in column.lower():
        return "loss"
    if column.startswith("count/"):  # what the loss counts: positives, negatives, filtered anchors
        return "anchors per step"
    if re.fullmatch(r"top\d+", last):
        return "accuracy"
    if last.startswith(("AP", "mAP")):
        return "average precision"
    if last.startswith("AR"):
        return "average recall"
    return "learning rate" if re.search(r"(^|[^a-z])lr([^a-z]|$)|learning.rate", column.lower()) else "other"


def _read_log(log: Path, x: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The columns of numbers by name, each as the positions and the values where it was logged."""
    with log.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        rows = list(reader)
    if x not in columns:
        raise ValueError(f"x: no column {x!r} in {log}, has {columns}")
    table = {}
    for name in columns:
        points = []
        for number, row in enumerate(rows, start=2):
            try:
                if row[name] and row[x]:
                    points.append((float(row[x]), float(row[name])))
            except ValueError as error:
                raise ValueError(f"{log}: line {number}: {name}: {error}") from error
        points = [point for point in points if math.isfinite(point[1])]
        if points:
            xs, ys = zip(*points, strict=True)
            table[name] = (np.array(xs), np.array(ys))
    return table


def _join(parts: list[dict[str, tuple[np.ndarray, np.ndarray]]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The logs of a run's parts as one."""
    table: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part in parts:
        begin = min((float(xs.min()) for xs, _ in part.values()), default=math.inf)
        joined = {name: (xs[xs < begin], ys[xs < begin]) for name, (xs, ys) in table.items()}
        for name, (xs, ys) in part.items():
            old = joined.get(name, (np.zeros(0), np.zeros(0)))
            joined[name] = np.concatenate([old[0], xs]), np.concatenate([old[1], ys])
        table = joined
    return {name: (xs, ys) for name, (xs, ys) in table.items() if len(xs)}


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean over `width` values around each position, fewer at the ends; same shape (N,)."""
    kernel = np.ones(min(width, len(values)))
    total = np.convolve(values, kernel, mode="same")
    return total / np.convolve(np.ones(len(values)), kernel, mode="same")


def _save(figure: Figure, path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, facecolor="white")
