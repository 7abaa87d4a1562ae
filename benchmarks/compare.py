"""What changed between two runs, and what is only noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .machine import Machine
from .report import Report
from .runner import Row
from .table import markdown, number

LEAST_CHANGE = 0.05  # smaller changes are not worth a line, however steady the times
FEW_SAMPLES, LEAST_OF_FEW = 5, 0.2  # so few samples do not show their spread
SAME_MACHINE = 0.1  # rates that differ by less are those of one machine, as busy as before


def noise(a: Row, b: Row) -> float:
    """The share by which the two medians may differ without meaning anything: both interquartile ranges together.

    The range of n samples says how far single calls lie apart; the median of them is steadier, yet what else a
    machine does lasts longer than one case, so that the whole range counts.
    """
    assert a.ours is not None and b.ours is not None
    few = min(a.ours.samples, b.ours.samples) < FEW_SAMPLES
    return max(LEAST_OF_FEW if few else LEAST_CHANGE, math.hypot(a.ours.spread, b.ours.spread))


def change(old: Row, new: Row) -> float | None:
    """New time over old, None if the difference is within the noise."""
    assert old.ours is not None and new.ours is not None
    factor = new.ours.median / old.ours.median
    return None if abs(math.log(factor)) <= math.log1p(noise(old, new)) else factor


def ratios(old: Row, new: Row) -> str:
    """To the best peers of both runs; their names, where those are two."""
    if not old.ratio() or not new.ratio():
        return ""
    names = ("", "") if old.best_peer == new.best_peer else (f" {old.best_peer}", f" {new.best_peer}")
    return f"{number(old.ratio())}{names[0]} -> {number(new.ratio())}{names[1]}"


def compare(old: Report, new: Report) -> list[str]:
    """Lines: what became slower, first, and faster; what is steady, new and gone only as a number."""
    before, after = ({row.key: row for row in report.rows if row.ours} for report in (old, new))
    both = [key for key in after if key in before]
    changed = [(factor, key) for key in both if (factor := change(before[key], after[key])) is not None]
    lines = [f"Compared with the run of {old.machine.date}:", *machines(old.machine, new.machine), ""]
    rows = []
    for factor, key in sorted(changed, reverse=True):
        a, b = before[key], after[key]
        assert a.ours is not None and b.ours is not None
        what = f"{number(factor)}x the time, slower" if factor > 1 else f"{number(1 / factor)}x as fast"
        noisy = f"{100 * noise(a, b):.0f}%"
        rows.append([*key[:4], str(key[4]), number(a.ours.median), number(b.ours.median), what, noisy, ratios(a, b)])
    head = (
        "op",
        "case",
        "dtype",
        "direction",
        "threads",
        "old, ms",
        "new, ms",
        "change",
        "noise",
        "ratio to the best peer",
    )
    lines += markdown(head, rows) if rows else ["Nothing changed beyond the noise."]
    fresh, gone = (
        _names(keys) for keys in ([k for k in after if k not in before], [k for k in before if k not in after])
    )
    lines += ["", f"{len(both) - len(changed)} of {len(both)} cases within the noise. New: {fresh}. Gone: {gone}."]
    return lines


def machines(old: Machine, new: Machine) -> list[str]:
    """What is different of the machines: without the same, absolute times mean nothing."""
    lines = []
    for name in ("processor", "cores", "torch"):
        a, b = getattr(old, name), getattr(new, name)
        if a != b:
            lines.append(f"- {name}: {a} -> {b}")
    for threads in sorted(old.rates.keys() & new.rates.keys()):
        a, b = old.rates[threads], new.rates[threads]
        pairs = [(f"{d} GEMM, GFLOP/s", a.gemm[d], b.gemm[d]) for d in a.gemm.keys() & b.gemm.keys()]
        pairs += [(f"copy of {mib:g} MiB, GB/s", a.copy[mib], b.copy[mib]) for mib in a.copy.keys() & b.copy.keys()]
        for what, was, now in sorted(pairs):
            if abs(math.log(now / was)) > math.log1p(SAME_MACHINE):
                lines.append(
                    f"- {what}, {threads} threads: {number(was)} -> {number(now)}: another machine, or a busier one"
                )
    return lines


def _names(keys: Sequence[tuple[str, str, str, str, int]]) -> str:
    shown = [f"{key[0]} {key[1]} ({key[4]} threads)" for key in keys[:5]]
    return "none" if not keys else ", ".join(shown) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
