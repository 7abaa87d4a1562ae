"""Everything that only a GPU can show, in one command: `make gpu-check`.

    python -m benchmarks.gpu.check [--minutes N] [--prebuilt FOLDER] [--prepared FILE] [--out FOLDER]
    python -m benchmarks.gpu.check --prepare FILE     before, on a CPU: expected results that take one long
    python -m benchmarks.gpu.check --rehearse         the whole course without a GPU, with faults planted

Takes libraries that were built before (`make gpu-prebuilt`) where they load, and builds them where not; runs every op
once, the most telling benchmarks, the tests marked `cuda`, the other benchmarks, then compute-sanitizer. Leaves
summary.md, results.json and logs.tar.gz in one folder ($OUT, else runs/gpu_check) and prints what matters last. Needs
no network: torch and pytest, and to build nvcc, CMake, ninja and pybind11.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from .course import Course, Options
from .processes import ROOT, RealMachine
from .results import Results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything (%(default)s)")
    parser.add_argument("--prebuilt", type=Path, metavar="FOLDER", help="libraries: a folder of `make gpu-prebuilt`")
    parser.add_argument("--prepared", type=Path, metavar="FILE", help="expected results: a file of --prepare")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ROOT / "runs/gpu_check")))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--prepare", type=Path, metavar="FILE", help="compute expected results, and nothing else")
    what.add_argument("--rehearse", action="store_true", help="the whole course on this CPU, in seconds")
    options = parser.parse_args()
    if not options.minutes >= 1:
        parser.error(f"--minutes: expected at least 1, got {options.minutes:g}")
    for name in ("prebuilt", "prepared"):
        path = getattr(options, name)
        if path is not None and not path.exists():
            parser.error(f"--{name}: there is no {path}")
    if options.prepared is not None:
        from .prepared import Prepared

        try:
            Prepared.load(options.prepared)
        except ValueError as error:
            parser.error(f"--prepared: {error}")
    if options.prepare is not None:
        return prepare(options.prepare)
    if options.rehearse:
        from .rehearsal import rehearse

        return rehearse(options.out)
    return check(options)


def check(options: argparse.Namespace) -> int:
    import torch

    if not torch.cuda.is_available():
        print("gpu-check: no GPU that this torch can use (--rehearse runs the course without one)", file=sys.stderr)
        return 2
    major, minor = torch.cuda.get_device_capability()
    settings = Options(
        minutes=options.minutes,
        architecture=f"{major}{minor}",
        prebuilt=None if options.prebuilt is None else options.prebuilt.resolve(),
        prepared=None if options.prepared is None else options.prepared.resolve(),
    )
    signal.signal(signal.SIGTERM, _stop)
    with tempfile.TemporaryDirectory() as work:
        return conclude(Course(RealMachine(), Results(options.out), Path(work), settings))


def conclude(course: Course) -> int:
    """Runs the course; whatever ends it, the results are there and printed."""
    try:
        return course.run()
    finally:
        course.results.close()
        course.results.save(course.work)
        print(f"\n{course.results.short()}\n{course.results.out}", flush=True)


def _stop(*_: Any) -> NoReturn:
    raise SystemExit("gpu-check: stopped from outside")


def prepare(path: Path) -> int:
    from .catalog import all_cases
    from .prepared import Prepared

    prepared = Prepared()
    prepared.add(all_cases("cpu"))
    prepared.save(path)
    print(f"{path}: {len(prepared.entries)} expected results, {path.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
