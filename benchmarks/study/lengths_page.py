"""The table of the trainings of two lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..table import markdown
from . import ablations
from .lengths import DATA, ITERATIONS, PAIRS
from .statistics import difference, mean_of, pooled_variance

Runs = Sequence[dict[str, Any]]


def values(runs: Runs, key: str, metric: str) -> list[float]:
    return [run["metrics"][""][metric] for run in runs if (run["data"], run["row"]) == (DATA, key)]


def table(short: Runs, long: Runs) -> list[str]:
    """short: of the ablations, long: of this study."""
    keys = [key for pair in PAIRS.values() for key in pair]
    rows = []
    for name, pair in PAIRS.items():
        for iterations, runs in ((ablations.ITERATIONS, short), (ITERATIONS, long)):
            cells = [name, str(iterations)]
            for metric in ("AP", "AP75"):
                full, single = (values(runs, key, metric) for key in pair)
                spread = pooled_variance([values(runs, key, metric) for key in keys])
                cells += [f"{mean_of(v).value:.1f}" if v else "not run" for v in (full, single)]
                cells.append(difference(full, single, spread).signed if full and single else "")
            rows.append(cells)
    head = [
        "detector",
        "steps",
        "AP of two stages",
        "of one",
        "difference",
        "AP75 of two stages",
        "of one",
        "difference",
    ]
    return markdown(head, rows)


def blocks(short: Runs, long: Runs) -> dict[str, Callable[[], Sequence[str]]]:
    return {"lengths": lambda: table(short, long)}
