"""Do the tests of the CUDA kernels notice damage?

Plants one fault at a time in a copy of csrc/cuda (a barrier removed, an atomic made plain, a guard dropped, a bound or
a shared array off by one, a mask halved, and what is listed by hand), compiles what holds it, and runs the tests that
reach it, nearest first, in the plain build of the emulator and with AddressSanitizer or ThreadSanitizer, until one
notices; the other sanitizer comes last. What is known from earlier runs of the same sources is not run again. Fails if
a fault goes unnoticed.

    make faults                                                       # all of them, about an hour on two cores
    python -m tests.cuda_on_host.faults --only nms/ --minutes 10
    python -m tests.cuda_on_host.faults --only deconv_product.cu:17 --all
    python -m tests.cuda_on_host.faults --list
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from .faults import Fault, StaleFaultError, all_faults
from .record import Record
from .sources import ROOT
from .table import page, summary
from .trials import Trials, Verdict
from .workshop import DOES_NOT_COMPILE, Workshop

# The families whose kernels change least, first.
FAMILIES = ("boxes", "primitives", "nms", "matching", "losses", "features")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cuda_on_host.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only faults in whose FILE:LINE WHAT one of these is")
    parser.add_argument("--minutes", type=float, help="begin no fault after so many")
    parser.add_argument("--all", action="store_true", help="do not stop at the first build that notices")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="faults at a time")
    parser.add_argument("--time-limit", type=int, default=120, help="seconds of processor time for a run of a test")
    parser.add_argument("--list", action="store_true", help="print the faults and do nothing")
    parser.add_argument("--build-folder", type=Path, default=ROOT / "build/faults")
    parser.add_argument("--cpu-library", type=Path, default=ROOT / "build/editable/librefinedet_cpu.a")
    parser.add_argument("--table", type=Path, help="write what is known of all faults to this file")
    options = parser.parse_args()

    try:
        faults = sorted(all_faults(), key=lambda fault: FAMILIES.index(fault.file.split("/")[0]))
    except StaleFaultError as error:
        parser.error(str(error))
    chosen = [f for f in faults if not options.only or any(text in str(f) for text in options.only)]
    if options.only and not chosen:
        parser.error(f"--only: expected a part of one of the {len(faults)} faults (--list), got {options.only}")
    if options.list:
        for fault in chosen:
            print(fault, f"(harmless: {fault.harmless})" if fault.harmless else "")
        return 0
    if not options.cpu_library.exists():
        parser.error(f"--cpu-library: {options.cpu_library} is not built (make test-cpp)")

    end = time.monotonic() + 60 * options.minutes if options.minutes is not None else float("inf")
    folder, library = options.build_folder.resolve(), options.cpu_library.resolve()
    workshop = Workshop(folder, library, options.time_limit, options.jobs)
    trials = Trials(workshop, Record(folder / "outcomes.txt"), everything=options.all)
    workshop.link()

    def judge(fault: Fault) -> Verdict:
        begun = time.monotonic()
        verdict = trials.judge(fault, run=begun < end)
        if verdict.kind != "not run":
            print(f"{time.monotonic() - begun:5.1f} s  {str(fault)[:80]:80}  {verdict}", flush=True)
        return verdict

    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(judge, chosen))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{summary(verdicts)} {(used.ru_utime + used.ru_stime) / 60:.1f} minutes of processor time.")
    if options.table is not None:
        known = {id(verdict.fault): verdict for verdict in verdicts}
        everything = [known.get(id(fault)) or trials.judge(fault, run=False) for fault in faults]
        everything.sort(key=lambda verdict: verdict.fault.file)
        options.table.write_text(page(everything, date.today().isoformat()), encoding="utf-8")
    return 1 if any(verdict.kind in ("unnoticed", DOES_NOT_COMPILE) for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
