"""The table of the trainings of two lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..table import markdown
from . import ablations
from .lengths import DATA, PAIRS, label
from .statistics import difference, mean_of, pooled_variance, values_of

Runs = Sequence[dict[str, Any]]


def table(short: Runs, long: Runs) -> list[str]:
    """short: of the ablations, long: of this study."""
    rows = []
    for pair in PAIRS:
        for times in (1, *pair.times):
            cells = [pair.name, str(times * ablations.ITERATIONS)]
            runs, data = (short, DATA) if times == 1 else (long, label(times))
            for metric in ("AP", "AP75"):
                with_it, without = (values_of(runs, data, key, metric) for key in (pair.with_it, pair.without))
                cells += [f"{mean_of(v).value:.1f}" if v else "not run" for v in (with_it, without)]
                spread = pooled_variance([with_it, without])
                cells.append(difference(with_it, without, spread).signed if with_it and without else "")
                seeds = min(len(with_it), len(without))
            rows.append([*cells, str(seeds)])
    metrics = [[f"{metric} with it", "without", "difference"] for metric in ("AP", "AP75")]
    return markdown(["what is added", "steps", *metrics[0], *metrics[1], "seeds"], rows)


def blocks(short: Runs, long: Runs) -> dict[str, Callable[[], Sequence[str]]]:
    return {"lengths": lambda: table(short, long)}
