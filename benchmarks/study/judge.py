"""The original code as judge: this package against vectors whose values were found without it.

`vectors/` has the small cases of each rule, with what must come out and how that was found; `rules/` states each rule
in plain Python. Here the rules must give what the vectors say, and so must every implementation of ours. A new case
needs nothing but its place in a file of vectors.

    python -m benchmarks.study judge [RULE ...]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ..table import markdown
from . import ours, ours_detectors
from .ours import Implementation, of_faces

VECTORS = Path(__file__).parent / "vectors"
RULE_TOLERANCE = 1e-12

IMPLEMENTATIONS: dict[str, list[Implementation]] = {
    "anchors": ours_detectors.ANCHORS,
    "matching": of_faces(ours.match, tolerance=ours.SINGLE),  # overlaps are float32 whatever the inputs are
    "filtering": of_faces(ours.filter_) + ours_detectors.FILTERING,
    "mining": of_faces(ours.mine)
    + [replace(x, name=f"mined_cross_entropy {x.name}") for x in of_faces(ours.mine_by_loss)]
    + ours_detectors.MINING,
    "coding": of_faces(ours.code),
    "losses": ours_detectors.LOSSES,
    "two_step": ours_detectors.TWO_STEP,
    "nms": of_faces(ours.suppress),
    "soft_nms": of_faces(ours.suppress) + ours_detectors.SOFT_NMS,
    "voting": ours_detectors.VOTING,
}


@dataclass(frozen=True)
class Verdict:
    """How far one implementation, or the rule, is from one vector; problem: what is wrong, empty where they agree."""

    rule: str
    case: str
    implementation: str
    difference: float
    problem: str


@dataclass(frozen=True)
class Row:
    """What became of a rule: how many cases, how many of them degenerate, who was compared, the largest difference as a
    part of max(1, |value|), and the disagreements."""

    rule: str
    title: str
    cases: int
    degenerate: int
    implementations: tuple[str, ...]
    largest: float
    problems: tuple[str, ...]


def load(rule: str) -> dict[str, Any]:
    """The vectors of a rule: "title", "source" and "cases", each with "name", "degenerate", "given", "expected" and
    "derivation"."""
    vectors: dict[str, Any] = json.loads((VECTORS / f"{rule}.json").read_text(encoding="utf-8"))
    return vectors


def judge_case(rule: str, case: dict[str, Any]) -> list[Verdict]:
    """The rule and every implementation that the case is for."""
    statement = import_module(f".rules.{rule}", __package__)
    judged = [Implementation("rule", statement.run, RULE_TOLERANCE), *IMPLEMENTATIONS[rule]]
    verdicts = []
    for implementation in judged:
        got = implementation.run(case["given"])
        if got is not None:
            difference, problem = compare(got, case["expected"], implementation.tolerance)
            verdicts.append(Verdict(rule, case["name"], implementation.name, difference, problem))
    return verdicts


def judge(rules: Sequence[str] = tuple(IMPLEMENTATIONS)) -> list[Row]:
    """Every case of these rules."""
    rows = []
    for rule in rules:
        vectors = load(rule)
        cases = vectors["cases"]
        verdicts = [verdict for case in cases for verdict in judge_case(rule, case)]
        compared = dict.fromkeys(verdict.implementation for verdict in verdicts if verdict.implementation != "rule")
        problems = [f"{rule}, {v.case}, {v.implementation}: {v.problem}" for v in verdicts if v.problem]
        degenerate = sum(case["degenerate"] for case in cases)
        largest = max(verdict.difference for verdict in verdicts)
        rows.append(Row(rule, vectors["title"], len(cases), degenerate, tuple(compared), largest, tuple(problems)))
    return rows


def compare(got: Any, want: Any, tolerance: float, where: str = "") -> tuple[float, str]:
    """The largest difference of numbers, as a part of max(1, |wanted|), and the first disagreement."""
    if isinstance(want, (dict, list)):
        if type(got) is not type(want) or len(got) != len(want) or (isinstance(want, dict) and set(got) != set(want)):
            return math.inf, f"{where or 'result'}: expected {want}, got {got}"
        keys = list(want) if isinstance(want, dict) else range(len(want))
        results = [compare(got[key], want[key], tolerance, f"{where}[{key}]" if where else str(key)) for key in keys]
        return max((r[0] for r in results), default=0.0), next((r[1] for r in results if r[1]), "")
    if isinstance(got, float) and isinstance(want, (int, float)):
        difference = math.inf if math.isnan(got) else abs(got - want) / max(1.0, abs(want))
        return difference, "" if difference <= tolerance else f"{where}: expected {want}, got {got}"
    return (0.0, "") if got == want else (math.inf, f"{where}: expected {want}, got {got}")


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown."""
    head = ("rule", "cases", "degenerate", "implementations compared", "largest difference")
    cells = [
        [row.title, str(row.cases), str(row.degenerate), short(row.implementations), f"{row.largest:.0e}"]
        for row in rows
    ]
    return markdown(head, cells)


def short(names: Sequence[str]) -> str:
    """Those that differ in the dtype alone as one: "torch float32, torch float64" as "torch float32/64"."""
    widths: dict[str, list[str]] = {}
    for name in names:
        base, found, width = name.partition(" float")
        widths.setdefault(base, []).extend([width] if found else [])
    return ", ".join(f"{base} float{'/'.join(found)}" if found else base for base, found in widths.items())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study judge", description=__doc__.split("\n")[0])
    parser.add_argument("rules", nargs="*", metavar="RULE", help=f"some of {', '.join(IMPLEMENTATIONS)}; none: all")
    rules = parser.parse_args(arguments).rules
    unknown = sorted(set(rules) - set(IMPLEMENTATIONS))
    if unknown:
        parser.error(f"RULE: expected some of {', '.join(IMPLEMENTATIONS)}, got {', '.join(unknown)}")
    rows = judge(rules or tuple(IMPLEMENTATIONS))
    print("\n".join(table(rows)))
    problems = [problem for row in rows for problem in row.problems]
    for problem in problems:
        print(f"judge: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
