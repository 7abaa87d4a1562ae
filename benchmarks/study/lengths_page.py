"""The table of the trainings of two lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..table import markdown
from . import ablations
from .lengths import DATA, ITERATIONS, PAIRS
from .statistics import difference, mean_of, pooled_variance

Runs = Sequence[dict[str, Any]]


def values(runs: Runs, key: str) -> list[float]:
    return [run["metrics"][""]["AP"] for run in runs if (run["data"], run["row"]) == (DATA, key)]


def table(short: Runs, long: Runs) -> list[str]:
    """short: of the ablations, long: of this study."""
    rows = []
    for name, pair in PAIRS.items():
        for iterations, runs in ((ablations.ITERATIONS, short), (ITERATIONS, long)):
            full, single = (values(runs, key) for key in pair)
            cells = [name, str(iterations), *(f"{mean_of(v).value:.1f}" if v else "not run" for v in (full, single))]
            spread = pooled_variance([values(runs, key) for both in PAIRS.values() for key in both])
            rows.append([*cells, difference(full, single, spread).signed if full and single else ""])
    return markdown(["detector", "steps", "two stages: AP", "a single stage", "difference"], rows)


def blocks(short: Runs, long: Runs) -> dict[str, Callable[[], Sequence[str]]]:
    return {"lengths": lambda: table(short, long)}
