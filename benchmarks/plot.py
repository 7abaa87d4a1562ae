"""Draws a run: how many times as fast as the best peer ours is on one thread, op by op, a dot for every case."""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import groupby
from pathlib import Path

from .report import Report
from .runner import Row
from .table import number

LINE_INCHES = 0.3
NO_RACE = ("call overhead",)  # whose peer is a measure, not a rival
FASTER, SLOWER, MEDIAN = "#2a7f62", "#b5483a", "#222222"
PEERS = 2  # that a line names


def draw(report: Report, path: Path) -> None:
    """Writes the plot, in the format of the path's ending.

    ValueError if no case has a peer, ImportError without matplotlib.
    """
    from matplotlib.figure import Figure  # not needed for the rest

    lines = lines_of(report.rows)
    if not lines:
        raise ValueError("plot: the run has no case on one thread with a peer beside it")
    figure = Figure(figsize=(9, LINE_INCHES * len(lines) + 1.3), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.axvline(1, color="#888888", linewidth=1)
    for y, rows in enumerate(lines.values()):
        for row in rows:
            color = FASTER if ratio_of(row) >= 1 else SLOWER
            fill = color if row.dtype == "float32" else "none"
            axes.plot(ratio_of(row), y, "o", markersize=5, markerfacecolor=fill, markeredgecolor=color)
        axes.plot([middle(rows)] * 2, [y - 0.38, y + 0.38], color=MEDIAN, linewidth=1.5)
        axes.annotate(
            summary(rows), (1, y), (6, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(lines)), list(lines), fontsize=9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="both", which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.suptitle(
        "Times as fast as the best peer: a dot for every case, a line at the median; hollow: half types\n"
        f"One thread, {report.machine.processor}, torch {report.machine.torch}, {report.machine.date}",
        fontsize=9,
    )
    figure.savefig(path, dpi=100)


def lines_of(rows: list[Row]) -> dict[str, list[Row]]:
    """The cases of every op that the plot shows, ops by name."""
    shown = sorted((r for r in rows if r.threads == 1 and r.ratio() and r.op not in NO_RACE), key=lambda row: row.op)
    return {op: list(group) for op, group in groupby(shown, key=lambda row: row.op)}


def ratio_of(row: Row) -> float:
    ratio = row.ratio()
    assert ratio is not None, row.key  # lines_of leaves such rows out
    return ratio


def middle(rows: list[Row]) -> float:
    return statistics.median(map(ratio_of, rows))


def summary(rows: list[Row]) -> str:
    """Median, range and the peers that are the best one most often."""
    ratios = sorted(map(ratio_of, rows))
    peers = [name for name, _ in Counter(row.best_peer or "" for row in rows).most_common()]
    names = ", ".join(peers[:PEERS]) + (", ..." if len(peers) > PEERS else "")
    spread = f" ({number(ratios[0])} to {number(ratios[-1])})" if len(ratios) > 1 else ""
    return f"{number(middle(rows))}x{spread}  {names}"
