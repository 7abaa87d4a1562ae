"""Times ops on the GPU beside their peers and floors, in this process: for work on one kernel.

    python -m benchmarks.gpu [WORD ...]     the cases whose title has one of the words

`make gpu-check` does so for all, each row safe from the others.
"""

from __future__ import annotations

import argparse

import torch

from .catalog import MACHINE, State, tasks
from .device import Gpu
from .results import short_line
from .worker import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("no GPU that this torch can use")
    device = Gpu()
    found = tasks("all", device, State())
    wanted = [task for task in found if task.key == MACHINE or any(word in task.key for word in options.words or [""])]
    if len(wanted) == 1:
        parser.error(f"no case has any of {options.words} in its title")
    failed = 0
    for event in run(wanted, device, set()):
        row = event.get("row", {})
        if "error" in row:
            failed += 1
            print(f"{row['key']}: FAILED: {row['error']}")
        elif "ours" in row:
            print(short_line(row), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
