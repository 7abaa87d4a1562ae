"""What a check leaves: three files in a folder, kept up to date, and a short text to end its output with."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..case import FORWARD
from .measure import Row, fastest

SUMMARY, RESULTS, LOGS = "summary.md", "results.json", "logs.tar.gz"
UNDER_WAY = "under way"
SHOWN_FAILURES = 25
LENGTH = 10_000  # characters of the text at the end: 12,000 are what survives of an output, and lines stand before it


@dataclass
class StepResult:
    """result: "ok", or what happened. rows: as they came."""

    name: str
    result: str
    seconds: float
    rows: list[Row] = field(default_factory=list)
    note: str = ""

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if "error" in row]

    def line(self) -> list[str]:
        reached = [row for row in self.rows if "not reached" not in row]
        skipped = sum("skipped" in row for row in reached)
        counts = ""
        if self.rows:
            counts = f"{len(reached)} of {len(self.rows)} rows, {len(self.failed)} failed"
            counts += f", {skipped} skipped" if skipped else ""
        return [self.name, self.result, f"{self.seconds:.0f}", "; ".join(text for text in (counts, self.note) if text)]


class Results:
    """The steps so far. `save` after each, and after each row: what ends this process costs nothing that was there."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.steps: list[StepResult] = []
        out.mkdir(parents=True, exist_ok=True)
        for name in (SUMMARY, RESULTS, LOGS):  # those of an earlier check
            (out / name).unlink(missing_ok=True)

    @property
    def machine(self) -> dict[str, Any]:
        """The row of the ceilings; {} before it is there."""
        return next((row for step in self.steps for row in step.rows if "machine" in row), {})

    @property
    def ok(self) -> bool:
        return all(step.result == "ok" and not step.failed for step in self.steps)

    def close(self) -> None:
        """No step is under way any more."""
        for step in self.steps:
            if step.result == UNDER_WAY:
                step.result = "stopped"

    def save(self, work: Path | None = None) -> None:
        """work: the folder of the logs, packed when given."""
        values = {**self.machine, "steps": [asdict(step) for step in self.steps]}
        _replace(self.out / RESULTS, json.dumps(values, indent=1) + "\n")
        _replace(self.out / SUMMARY, self.markdown())
        if work is not None:
            with tarfile.open(self.out / LOGS, "w:gz") as archive:
                for path in sorted(work.glob("*.log")):
                    archive.add(path, path.name)

    def markdown(self) -> str:
        lines = ["# GPU check", "", self.head(), "", *_table(("step", "result", "seconds", ""), self._lines())]
        failures = self.failures()
        if failures:
            lines += ["", "## Failures", "", *(f"- {text}" for text in failures)]
        timed = self.timed()
        if timed:
            lines += [
                *("", "## Times", ""),
                "Microseconds, medians with a cold L2. `graph`: replayed from a CUDA graph; `call`: as a program calls "
                "it. A ratio above 1 says how many times as fast as the peer ours is, graph against graph where both "
                "have one. `MB`: what a call takes, its results included.",
                "",
                *_table(TIME_HEAD, [time_cells(row) for row in timed]),
            ]
        return "\n".join(lines) + "\n"

    def head(self) -> str:
        if not self.machine:
            return "The machine was not described."
        about, ceilings = self.machine["machine"], self.machine["ceilings"]
        products = ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in ceilings["products"].items())
        return (
            f"{about['gpu']}, torch {about['torch']}, torchvision {about['torchvision']}, Python {about['python']}, "
            f"{about['date']}. Copy {ceilings['copy'] / 1e12:.2f} TB/s; products {products} TFLOP/s; an empty launch "
            f"in a graph {ceilings['launch']:.1f} us."
        )

    def _lines(self) -> list[list[str]]:
        return [step.line() for step in self.steps]

    def timed(self) -> list[Row]:
        return [row for step in self.steps for row in step.rows if "ours" in row]

    def failures(self) -> list[str]:
        return [f"{step.name}: {row['key']}: {row['error']}" for step in self.steps for row in step.failed]

    def short(self) -> str:
        """The times, as many as there is room for, then failures and steps: the end is what is read first."""
        failures = [text[:200] for text in self.failures()]
        hidden = len(failures) - SHOWN_FAILURES
        tail = [self.head()]
        if failures:
            tail += ["", f"failures: {len(failures)}", *failures[:SHOWN_FAILURES]]
            tail += [f"... and {hidden} more in {SUMMARY}"] if hidden > 0 else []
        tail += ["", *("  ".join([name.ljust(16), result, f"{s} s", note]) for name, result, s, note in self._lines())]
        reached = [target["reached"] for row in self.timed() for target in row["targets"]]
        yes, no, unknown = (reached.count(value) for value in (True, False, None))
        tail.append(f"targets: {yes} reached, {no} not, {unknown} unknown")
        room = LENGTH - sum(len(line) + 1 for line in tail)
        times, left = [], [short_line(row) for row in self.timed()]
        while left and len(left[0]) + 40 <= room:
            room -= len(left[0]) + 1
            times.append(left.pop(0))
        times += [f"... and {len(left)} more rows in {SUMMARY}"] if left else []
        return "\n".join([*times, *tail])


TIME_HEAD = ("op", "case", "call", "graph", "peers (call / graph)", "ratios", "over floor", "MB", "targets")


def show(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def verdict(target: dict[str, Any]) -> str:
    result = {True: "reached", False: "NOT REACHED", None: "not measured"}[target["reached"]]
    value = "" if target["value"] is None else f"{show(target['value'])}, "
    return f"{target['text']}: {value}{result}"


def time_cells(row: Row) -> list[str]:
    ours = {kind: time["median"] for kind, time in row["ours"].items()}
    unchecked = f", UNCHECKED: {row['unchecked']}" if row["unchecked"] else ""
    return [
        row["op"] if row["direction"] == FORWARD else f"{row['op']}, {row['direction']}",
        row["case"] + unchecked,
        show(ours.get("call")),
        show(ours.get("graph")),
        "; ".join(f"{name} {_peer_text(times)}" for name, times in row["peers"].items()),
        "; ".join(f"{show(value)} {name}" for name, value in row["ratios"].items() if value is not None),
        show(row["over_floor"]),
        show(row["megabytes"]),
        "; ".join(verdict(target) for target in row["targets"]),
    ]


def short_line(row: Row) -> str:
    ratios = ", ".join(f"{show(value)}x {name}" for name, value in row["ratios"].items() if value is not None)
    targets = "; ".join(verdict(target) for target in row["targets"])
    name = row["op"] if row["direction"] == FORWARD else f"{row['op']} fwd+bwd"
    floor = f"{show(row['over_floor'])} floors" if row["over_floor"] else ""
    parts = [f"{name}, {row['case']}", f"{show(fastest(row))} us", floor, ratios, targets]
    return " | ".join(part for part in parts if part) + (" | UNCHECKED" if row["unchecked"] else "")


def _peer_text(times: dict[str, Any] | None) -> str:
    if times is None:
        return "missing"
    shown = [show(times.get(kind, {}).get("median")) for kind in ("call", "graph")]
    return f"{' / '.join(shown)}{' FAILED: ' + times['error'] if 'error' in times else ''}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "/") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]


def _replace(path: Path, text: str) -> None:
    """Never half of it, whenever this process ends."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    os.replace(temporary, path)
