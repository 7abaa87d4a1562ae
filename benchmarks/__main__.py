"""Times every op and detector on the CPU beside its peers and floors: one table, and JSON.

python -m benchmarks [--quick] [--select TEXT ...] [--threads 1 2] [--json FILE] [--compare OLD.json] [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from refinedet.allocator import keep_freed_memory

from . import memory
from .catalog import select
from .compare import compare
from .machine import describe, measure_rates
from .plot import draw
from .report import Report
from .runner import run_case, with_threads


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--select", nargs="*", default=[], metavar="TEXT", help="cases with one of these in their title"
    )
    parser.add_argument("--skip", nargs="*", default=[], metavar="TEXT", help="leave out cases with one of these")
    parser.add_argument("--threads", nargs="*", type=int, help="numbers of threads (1 and 2; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="the five-minute selection, without torch.compile")
    parser.add_argument("--seconds", type=float, default=0.5, help="time of each contestant of a case")
    parser.add_argument("--no-compile", action="store_true", help="leave the torch.compile peers out")
    parser.add_argument("--json", metavar="FILE", help="write what was measured")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables")
    parser.add_argument("--compare", metavar="OLD.json", help="say what changed since that run")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the ratios to the peers (needs matplotlib)")
    parser.add_argument("--from", dest="source", metavar="FILE.json", help="measure nothing, take that run")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser.parse_args(arguments)


def thread_counts(options: argparse.Namespace) -> list[int]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = options.threads or ([1] if options.quick else [1, 2])
    for count in wanted:
        if count < 1:
            raise ValueError(f"threads: expected at least 1, got {count}")
    return [count for count in wanted if count <= cores] or [1]


def run(options: argparse.Namespace) -> Report:
    """Measures what the options ask for; says on stderr where it is."""
    keep_freed_memory()  # as the commands do
    cases = select(options.select, skip=options.skip, short=options.quick)
    if not options.seconds > 0:
        raise ValueError(f"seconds: expected more than 0, got {options.seconds}")
    report = Report(describe())
    for count in thread_counts(options):
        with with_threads(count):
            report.machine.rates[count] = measure_rates()
    try:
        for i, case in enumerate(cases, 1):
            show_progress(i, len(cases), case.title())
            compile = not (options.quick or options.no_compile)
            report.rows += run_case(case, report.machine.rates, seconds=options.seconds, compile=compile)
            if options.json:  # a run that is killed leaves what it had
                report.save(Path(options.json))
        ops = {case.op for case in cases}
        report.peaks = memory.measure([name for name, case in memory.CASES.items() if case.op in ops])
    except KeyboardInterrupt:
        print("\nbenchmarks: stopped; what was measured follows", file=sys.stderr)
    return report


def show_progress(done: int, total: int, title: str) -> None:
    """In place, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r[{done}/{total}] {title[:100]:100}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        if options.list:
            for case in select(options.select, skip=options.skip, short=options.quick):
                print(case.title() + (" (short)" if case.short else ""))
            return 0
        old = Report.load(Path(options.compare)) if options.compare else None
        report = Report.load(Path(options.source)) if options.source else run(options)
    except (OSError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    text = report.text()
    print(text)
    if options.json:
        report.save(Path(options.json))
    if options.markdown:
        Path(options.markdown).write_text(text + "\n")
    if old is not None:
        print("\n" + "\n".join(compare(old, report)))
    if options.plot:
        draw(report, Path(options.plot))
    for row in report.failed:
        print(f"benchmarks: {row.op}, {row.case}, {row.dtype}, {row.direction}: {row.error}", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
