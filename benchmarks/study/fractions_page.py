"""The table and the plot of accuracy over the amount of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from refinedet.analysis.style import LINE_COLORS
from refinedet.figures import clean, new_figure

from ..table import markdown
from .fractions import FRACTIONS, WAYS
from .statistics import Estimate, mean_of, values_of

Runs = Sequence[dict[str, Any]]
IMAGES = 205
PICTURE = "![AP over the number of photographs](fractions.png)"


def images_of(percent: int) -> int:
    return round(IMAGES * percent / 100)


def estimate(runs: Runs, way: str, percent: int) -> Estimate | None:
    found = values_of(runs, way, str(percent), "AP")
    return mean_of(found) if found else None


def table(runs: Runs) -> list[str]:
    rows = []
    for percent in FRACTIONS:
        cells = [f"{images_of(percent)} ({percent}%)"]
        for name, way in WAYS.items():
            found = estimate(runs, name, percent)
            cells.append(str(found) if found else "not run" if percent in way.percents else "")
        rows.append(cells)
    return markdown(["photographs", *(way.title for way in WAYS.values())], rows)


def blocks(runs: Runs) -> dict[str, Callable[[], Sequence[str]]]:
    return {"fractions": lambda: table(runs), "fractions_picture": lambda: [PICTURE if runs else "Not run yet."]}


def draw(runs: Runs, path: Path) -> None:
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    clean(axes)
    for (name, way), color in zip(WAYS.items(), LINE_COLORS, strict=False):
        found = [(images_of(p), e) for p in way.percents if (e := estimate(runs, name, p)) is not None]
        axes.errorbar(
            [images for images, _ in found],
            [e.value for _, e in found],
            yerr=[e.half or 0.0 for _, e in found],
            fmt="o-",
            color=color,
            capsize=3,
            label=way.title,
        )
    axes.set_xlim(0, IMAGES + 10)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training photographs")
    axes.set_ylabel("AP on the 72 of the test part")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path)
