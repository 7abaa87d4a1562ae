"""A process that runs rows: `python -m benchmarks.gpu.worker SET`, started by `course.py` (see `events.py`).

After an error that leaves the GPU useless to this process it ends, and another goes on behind the row that failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .catalog import MACHINE, SETS, State, Task, tasks
from .device import Ceilings, Device, Gpu
from .events import DEAD, EventLog, done_before
from .measure import in_a_line
from .prepared import Prepared


def run(wanted: Sequence[Task], device: Device, done: set[str]) -> Iterator[dict[str, Any]]:
    """Runs the tasks that are not done and gives the events; ends early where the device is lost."""
    yield {"plan": [task.key for task in wanted]}
    for task in wanted:
        if task.key in done:
            continue
        yield {"began": task.key}
        began = time.monotonic()
        try:
            row = task.run()
        except Exception as error:  # the others are still worth measuring
            row = {"error": in_a_line(error)}
        alive = device.alive()
        if not alive and "error" not in row:
            # what came after the error that took it was none of the op's
            row["error"] = f"the GPU was lost; {row.get('unchecked', '')}".rstrip("; ")
        yield {"row": {"key": task.key, "seconds": round(time.monotonic() - began, 2), **row}, "alive": alive}
        if not alive:
            return


def load_state(prepared: Path | None, ceilings: Path | None) -> State:
    """From files that may not be there."""
    known = Prepared.load(prepared) if prepared is not None else None
    if ceilings is None or not ceilings.exists():
        return State(known)
    return State(known, Ceilings(**json.loads(ceilings.read_text())))


def serve(
    arguments: Sequence[str] | None,
    log: EventLog,
    done: set[str],
    device: Device,
    find: Callable[[str, Device, State], list[Task]] = tasks,
) -> Generator[dict[str, Any], None, int]:
    """Writes each event, gives it, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--prepared", type=Path, help="expected results: a file of check --prepare")
    parser.add_argument("--ceilings", type=Path, help="where the GPU's ceilings are kept for the next process")
    options = parser.parse_args(arguments)
    state = load_state(options.prepared, options.ceilings)
    for event in run(find(options.set, device, state), device, done):
        if options.ceilings is not None and state.ceilings is not None and event.get("row", {}).get("key") == MACHINE:
            options.ceilings.write_text(json.dumps(asdict(state.ceilings)))
        log.write(event)
        yield event
        if event.get("alive") is False:
            return DEAD
    return 0


def main() -> int:
    serving = serve(None, EventLog.from_environment(), done_before(), Gpu())
    while True:
        try:
            next(serving)
        except StopIteration as end:
            return end.value


if __name__ == "__main__":
    sys.exit(main())
