"""The tables and the plot of the ablations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from refinedet.analysis.style import LINE_COLORS
from refinedet.figures import INK, clean, new_figure

from ..table import markdown
from .ablations import DATA, SUPPRESSIONS, TABLES, Row, Table
from .runs import METRICS
from .statistics import Estimate, difference, mean_of, pooled_variance, values_of

TITLES = {"bccd": "BCCD", "scenes": "rendered scenes"}
Runs = Sequence[dict[str, Any]]


def values(runs: Runs, data: str, row: Row, metric: str = "AP") -> list[float]:
    """A metric of a row, one for each seed that was trained."""
    return values_of(runs, data, row.run, metric, row.suppression)


def spread(runs: Runs, data: str, table: Table) -> tuple[float, int]:
    """The variance of AP between seeds, from all rows of the table's detector, which are taken to spread alike."""
    detector = table.rows[0].run.partition("-")[0]
    groups: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        if run["data"] == data and run["row"].partition("-")[0] == detector:
            # soft and hard suppression of the same weights are no two groups
            name = SUPPRESSIONS.get(run["row"], ("",))[0]
            groups.setdefault((data, run["row"]), []).append(run["metrics"][name]["AP"])
    return pooled_variance(list(groups.values()))


def change(runs: Runs, data: str, table: Table, row: Row) -> Estimate | None:
    """AP of a row less that of the table's reference; None for the reference and what is not trained yet."""
    ours, base = values(runs, data, row), values(runs, data, table.row(table.reference))
    if row.name == table.reference or not ours or not base:
        return None
    return difference(ours, base, spread(runs, data, table))


def paper_change(table: Table, row: Row) -> float:
    return row.paper - table.row(table.reference).paper


def verdict(found: Estimate | None, paper: float) -> str:
    """What an interval says about the paper's sign."""
    if found is None:
        return ""
    if not found.decided:
        return "open"
    return "as the paper" if found.value * paper > 0 else "**contrary**"


def summary(table: Table, runs: Runs) -> list[str]:
    head = ["row", "paper", "difference"]
    for data in DATA:
        head += [f"{TITLES[data]}: AP", "difference", "sign"]
    rows = []
    for row in table.rows:
        paper = paper_change(table, row)
        shown = "" if row.name == table.reference else Estimate(paper, None).signed
        cells = [row.name, f"{row.paper:.1f}", shown]
        for data in DATA:
            found = values(runs, data, row)
            moved = change(runs, data, table, row)
            cells += [f"{mean_of(found).value:.1f}" if found else "not run", moved.signed if moved else ""]
            cells += [verdict(moved, paper)]
        rows.append(cells)
    return markdown(head, rows)


def details(table: Table, runs: Runs, data: str) -> list[str]:
    """Every metric of a table's rows on one data set, the time of a training step, and the number of seeds."""
    rows = []
    for row in table.rows:
        cells = [row.name]
        for metric in METRICS:
            found = values(runs, data, row, metric)
            cells.append(f"{mean_of(found).value:.1f}" if found else "")
        trained = [run for run in runs if (run["data"], run["row"]) == (data, row.run)]
        times = sorted(run["step_ms"] for run in trained if run["step_ms"] is not None)
        cells += [f"{times[len(times) // 2]:.0f}" if times else "", str(len(trained))]
        rows.append(cells)
    return markdown(["row", *METRICS, "ms a step", "seeds"], rows)


def count_verdicts(runs: Runs) -> list[str]:
    """How many of the papers' signs were found, by data set."""
    rows = []
    for data in DATA:
        found = [
            verdict(change(runs, data, table, row), paper_change(table, row)) for table in TABLES for row in table.rows
        ]
        rows.append([TITLES[data], *(str(found.count(kind)) for kind in ("as the paper", "open", "**contrary**"))])
    return markdown(["data", "as the paper", "open: zero is in the interval, or one seed alone", "contrary"], rows)


def blocks(runs: Runs) -> dict[str, Callable[[], Sequence[str]]]:
    made: dict[str, Callable[[], Sequence[str]]] = {"verdicts": lambda: count_verdicts(runs)}
    for table in TABLES:
        made[table.key] = lambda table=table: summary(table, runs)  # type: ignore[misc]
        for data in DATA:
            made[f"{table.key}_{data}"] = lambda table=table, data=data: details(table, runs, data)  # type: ignore[misc]
    return made


def draw(runs: Runs, path: Path) -> None:
    """The differences of every table beside the paper's."""
    heights = [len(table.rows) - 1 for table in TABLES]
    figure = new_figure(9.2, 0.3 * sum(heights) + 0.62 * len(heights) + 0.6)
    panels = figure.subplots(len(TABLES), 1, height_ratios=[height + 0.4 for height in heights], sharex=True)
    for panel, table in zip(panels, TABLES, strict=True):
        clean(panel)
        panel.set_title(f"{table.title}   (less \u201c{table.reference}\u201d)", fontsize=9, loc="left", color=INK)
        panel.axvline(0, color="#888888", linewidth=1)
        rows = [row for row in table.rows if row.name != table.reference]
        for y, row in enumerate(rows):
            panel.plot(paper_change(table, row), y, "D", color="white", markeredgecolor=INK, markersize=6, zorder=3)
            for shift, data, color in zip((-0.16, 0.16), DATA, LINE_COLORS, strict=False):
                found = change(runs, data, table, row)
                if found is not None:
                    panel.errorbar(
                        found.value, y + shift, xerr=found.half, fmt="o", color=color, markersize=4, elinewidth=1.2
                    )
        panel.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
        panel.set_ylim(len(rows) - 0.4, -0.6)
    panels[-1].set_xlabel("difference of AP (the papers' on VOC: of mAP)", fontsize=9)
    handles = [
        *(panels[0].plot([], [], "o", color=color)[0] for color in LINE_COLORS[: len(DATA)]),
        panels[0].plot([], [], "D", color="white", markeredgecolor=INK)[0],
    ]
    labels = [*(f"{TITLES[data]}, mean and 95% interval" for data in DATA), "paper"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)
