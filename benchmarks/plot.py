"""Draws a run: how many times as fast as the best peer ours is, case by case, on one thread."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path
from typing import Any

from .case import FORWARD
from .report import Report
from .runner import FLOOR, Row
from .table import number

LINES_PER_COLUMN, MOST_COLUMNS = 56, 3  # with more cases the columns grow longer
LINE_INCHES, COLUMN_INCHES = 0.24, 9.0
NO_RACE = ("call overhead",)  # whose peer is a measure, not a rival
FASTER, SLOWER, MARK = "#2a7f62", "#b5483a", "#222222"


def draw(report: Report, path: Path) -> None:
    """Writes the plot, in the format of the path's ending.

    ValueError if no case has a peer, ImportError without matplotlib.
    """
    from matplotlib.figure import Figure  # not needed for the rest

    columns = columns_of([row for row in report.rows if row.threads == 1 and row.ratio() and row.op not in NO_RACE])
    if not columns:
        raise ValueError("plot: the run has no case on one thread with a peer beside it")
    longest = max(map(len, columns))
    size = (COLUMN_INCHES * len(columns), LINE_INCHES * longest + 1.6)
    figure = Figure(figsize=size, layout="constrained")
    every = [row for column in columns for row in column if isinstance(row, Row)]
    limits = span(every)
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        _column(axes, column, longest, limits)
    figure.suptitle(
        f"Times as fast as the best peer, one thread, {report.machine.processor}, torch {report.machine.torch}, "
        f"{report.machine.date}\nat the bars' ends: ours in ms, and the peer; diamonds: targets",
        fontsize=10,
    )
    figure.savefig(path, dpi=100)


def columns_of(rows: list[Row]) -> list[list[Row | str]]:
    """Lines of the plot: the name of an op, then its cases, cut into columns of about one length; none ends with a
    name, and an op that goes on in the next column is named again."""
    groups = [(op, list(group)) for op, group in groupby(sorted(rows, key=lambda row: row.op), key=lambda row: row.op)]
    total = len(rows) + len(groups)
    wanted = min(MOST_COLUMNS, math.ceil(total / LINES_PER_COLUMN))
    length = math.ceil(total / wanted) + 1 if total else 0  # one for the name that may stand again
    columns: list[list[Row | str]] = []
    for op, group in groups:
        for i, row in enumerate(group):
            fresh = not columns or len(columns[-1]) + (i == 0) >= length
            if fresh:
                columns.append([])
            if fresh or i == 0:
                columns[-1].append(op)
            columns[-1].append(row)
    return columns


def span(rows: list[Row]) -> tuple[float, float]:
    """The axis' limits: all ratios and targets, 1, and room for the text at the bars' ends."""
    marks = [t.ratio for row in rows for t in row.targets if t.over != FLOOR]
    ratios = [row.ratio() or 1.0 for row in rows]
    low, high = min([*ratios, *marks, 1.0]), max([*ratios, *marks, 1.0])
    return low / 1.3, high * (high / low) ** 0.45 * 1.3


def _column(axes: Any, column: list[Row | str], lines: int, limits: tuple[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(*limits)
    axes.set_ylim(lines - 0.5, -0.8)
    axes.axvline(1, color="#888888", linewidth=0.8)
    labels = []
    for y, line in enumerate(column):
        if isinstance(line, str):
            labels.append(line)
            continue
        ratio = line.ratio()
        assert ratio is not None and line.ours is not None
        # bars start at "as fast as the peer"
        axes.barh(y, ratio - 1, left=1, height=0.7, color=FASTER if ratio >= 1 else SLOWER)
        text = f"{number(ratio)}x   {number(line.ours.median)} ms, {line.best_peer}"
        marks = [t.ratio for t in line.targets if t.over in ("best peer", line.best_peer)]
        axes.plot(marks, [y] * len(marks), "D", color=MARK, markersize=4)
        beside = (6 if marks and max(marks) >= 0.8 * ratio else 3, 0)  # points: not into a diamond
        at = (max([ratio, 1.0, *marks]), y)
        axes.annotate(text, at, xytext=beside, textcoords="offset points", va="center", fontsize=7)
        kind = "" if line.dtype == "float32" else f", {line.dtype}"
        way = "" if line.direction == FORWARD else ", both ways"
        labels.append(f"{line.case}{kind}{way}")
    axes.set_yticks(range(len(column)), labels, fontsize=7)
    for tick, line in zip(axes.get_yticklabels(), column, strict=True):
        if isinstance(line, str):
            tick.set_fontweight("bold")
            tick.set_fontsize(8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
