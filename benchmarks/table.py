"""The table of a run, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .case import Target
from .runner import FLOOR, MISSING, Row

HEAD = ("op", "case", "dtype", "direction", "threads", "ours, ms", "best peer, ms", "ratio", "over floor", "spread")
GAIN = 1.7  # that two threads must bring
GAIN_FROM = 1.0  # milliseconds on one thread, from which on they must


def number(value: float | None) -> str:
    """Three digits, and no exponent."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-3 else f"{value:.5f}"


def verdict(row: Row, target: Target) -> str:
    if target.over == FLOOR:
        what = f"within {target.ratio:g}x of the floor"
    elif target.over == "best peer":
        what = f"{target.ratio:g}x"
    else:
        what = f"{target.ratio:g}x {target.over}"
    reached = row.reached(target)
    result = "not measured" if reached is None else "reached" if reached else "NOT REACHED"
    if reached and target.over == "best peer":
        # without its strongest peer a case reaches its target easily
        missing = [name for name, time in row.peers.items() if time == MISSING]
        result += f", without {', '.join(missing)}" if missing else ""
    return f"{what}: {result}"


def cells(row: Row) -> list[str]:
    identity = [row.op, row.case, row.dtype, row.direction, str(row.threads)]
    if row.skipped:
        return [*identity, f"not run: {row.skipped}", "", "", "", "", ""]
    if row.ours is None:
        return [*identity, f"FAILED: {row.error}", "", "", "", "", ""]
    best = row.best_peer
    return [
        *identity,
        number(row.ours.median),
        f"{number(row.times()[best].median)} {best}" if best else "none",
        number(row.ratio()),
        number(row.over_floor),
        f"{100 * row.ours.spread:.0f}%" if row.ours.samples > 1 else "one call",
        "; ".join(verdict(row, target) for target in row.targets),
    ]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Padded, so that it also reads well in a terminal."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    line = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    rule = "|".join("-" * (width + 2) for width in widths)
    return [f"| {line[0]} |", f"|{rule}|", *(f"| {text} |" for text in line[1:])]


def table(rows: Sequence[Row]) -> list[str]:
    return markdown((*HEAD, "target"), [cells(row) for row in rows])


def absent(rows: Sequence[Row]) -> list[str]:
    """Which peers gave no time, and why."""
    why: dict[str, list[str]] = {}
    for row in rows:
        for name, time in row.peers.items():
            if isinstance(time, str):
                why.setdefault(f"{name} {time}", []).append(row.op)
    return [f"- {text}: {', '.join(dict.fromkeys(ops))}" for text, ops in why.items()]


def gains(rows: Sequence[Row]) -> list[str]:
    """What two threads bring where one takes more than a millisecond."""
    single = {row.key[:4]: row for row in rows if row.threads == 1 and row.ours}
    lines = []
    for row in rows:
        one = single.get(row.key[:4])
        if row.threads == 2 and row.ours and one and one.ours and one.ours.median > GAIN_FROM:
            gain = one.ours.median / row.ours.median
            verdict = "reached" if gain >= GAIN else "NOT REACHED"
            line = [*row.key[:4], number(one.ours.median), number(row.ours.median), number(gain), verdict]
            lines.append(line)
    head = ("op", "case", "dtype", "direction", "1 thread, ms", "2 threads, ms", "gain", f"target {GAIN}")
    return markdown(head, lines) if lines else []
