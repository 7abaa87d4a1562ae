"""What the studies' commands share: options, and the file of results that the pages are made from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..machine import describe
from .runs import ROOT, Run, known_result, perform, write_json

RESULTS = ROOT / "docs/studies/results"


def study_parser(study: str, description: str | None) -> argparse.ArgumentParser:
    """For `python -m benchmarks.study STUDY`, whose --help prints the description as it is."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.study {study}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_run_options(
    parser: argparse.ArgumentParser, study: str, iterations: int, of_what: str = "of every training"
) -> None:
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="trainings in whose DATA/ROW one of these is")
    parser.add_argument("--iterations", type=int, default=iterations, help=f"{of_what} ({iterations})")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, on a thread each (2)")
    parser.add_argument("--minutes", type=float, help="begin no training after so many")
    parser.add_argument("--list", action="store_true", help="name the trainings, and which are done, and end")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build/study" / study, help="of what is under way (build/study)"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS / f"{study}.json", help="the file to add to (in docs/studies)"
    )


def carry_out(study: str, runs: Sequence[Run], options: argparse.Namespace) -> int:
    """Trains what is missing and adds it to the file of results; 1 where a training failed, 130 where it was cut."""
    if options.jobs < 1 or options.iterations < 1:
        raise SystemExit(
            f"{study}: --jobs, --iterations: expected 1 or above, got {options.jobs}, {options.iterations}"
        )
    chosen = [run for run in runs if not options.only or any(text in run.place for text in options.only)]
    if not chosen:
        raise SystemExit(
            f"{study}: --only: expected a part of one of {len(runs)} trainings (--list), got {options.only}"
        )
    if options.list:
        for run in chosen:
            print(run.place, "" if known_result(run, options.folder) is None else "(done)")
        return 0
    options.results.parent.mkdir(parents=True, exist_ok=True)

    def done(run: Run, result: dict[str, Any]) -> None:
        add_result(options.results, run, result)

    for run in chosen:
        if (result := known_result(run, options.folder)) is not None:
            done(run, result)
    try:
        failed = perform(chosen, options.folder, jobs=options.jobs, minutes=options.minutes, done=done)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", flush=True)
        return 130
    missing = sum(known_result(run, options.folder) is None for run in chosen)
    print(f"{len(chosen) - missing} of {len(chosen)} trainings done, {len(failed)} failed: {options.results}")
    return 1 if failed else 0


def add_result(file: Path, run: Run, result: dict[str, Any]) -> None:
    """Puts a run into the file of results, in place of an earlier one of the same row and seed."""
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"runs": []}
    key = (run.data, run.row, run.seed)
    entry = {
        "data": run.data,
        "row": run.row,
        "seed": run.seed,
        "step_ms": None if result["step_seconds"] is None else round(1000 * result["step_seconds"], 1),
        "metrics": {
            name: {metric: None if value is None else round(100 * value, 2) for metric, value in values.items()}
            for name, values in result["metrics"].items()
        },
    }
    others = [old for old in found["runs"] if (old["data"], old["row"], old["seed"]) != key]
    entries = sorted([*others, entry], key=lambda e: (e["data"], e["row"], e["seed"]))
    write_json(file, {"machine": str(describe().processor), "runs": entries})
