"""The table of all faults that is committed."""

from __future__ import annotations

from collections import Counter

from .trials import Verdict
from .workshop import DOES_NOT_COMPILE


def summary(verdicts: list[Verdict]) -> str:
    counts = Counter(verdict.kind for verdict in verdicts)
    ran = len(verdicts) - counts["not run"] - counts["harmless"]
    first = Counter(
        next(build for (_, build), what in verdict.outcomes.items() if what)
        for verdict in verdicts
        if verdict.kind == "noticed"
    )
    builds = ", ".join(f"{number} by the {build} build" for build, number in first.items())
    parts = [f"{ran} of {len(verdicts) - counts['harmless']} faults were tried"]
    parts.append(f"{counts['noticed']} noticed" + (f" ({builds})" if builds else ""))
    parts += [f"{counts[kind]} {kind}" for kind in ("unnoticed", DOES_NOT_COMPILE) if counts[kind]]
    parts.append(f"{counts['harmless']} more are harmless")
    return "; ".join(parts) + "."


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def page(verdicts: list[Verdict], day: str) -> str:
    lines = [
        "# Faults planted in the CUDA kernels",
        "",
        f"Written by `make faults` on {day}, with the sources of that day. {summary(verdicts)}",
        "",
        "Test by test the plain build, which runs it under six schedules, and the address build are tried, then the",
        "thread build, until one notices; the thread build before the address build where an order of threads is lost.",
    ]
    for file in dict.fromkeys(verdict.fault.file for verdict in verdicts):
        of_file = [verdict for verdict in verdicts if verdict.fault.file == file]
        shown = [verdict for verdict in of_file if verdict.kind != "not run"]
        lines += ["", f"## {file}", ""]
        if shown:
            lines += ["| line | fault | noticed by |", "|---|---|---|"]
        for verdict in shown:
            words = f"**{verdict}**" if verdict.kind == "unnoticed" else str(verdict)
            lines.append(f"| {verdict.fault.line} | {cell(f'`{verdict.fault.what}`')} | {cell(words)} |")
        if len(shown) < len(of_file):
            lines += ["", f"Not run: {len(of_file) - len(shown)}."] if shown else [f"Not run: {len(of_file)}."]
    return "\n".join(lines) + "\n"
