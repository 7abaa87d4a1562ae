"""The whole course without a GPU: the real steps and rows on small inputs, our kernels emulated on the CPU where they
are built for that, on a fake machine with faults planted. The course must lose what they hit and nothing else.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from ..case import Op
from .case import GpuCase
from .catalog import State, tasks
from .check import conclude
from .course import STEPS, Course, Options
from .fake_machine import HANG, KILL, TRAP, FakeMachine, Find, StandIn
from .processes import ROOT
from .results import LENGTH, Results


class EmulatedCase(GpuCase):
    """Ours runs on the emulated CUDA kernels; what is expected and the peers stay on the CPU's."""

    def call(self, op: Op, inputs: Sequence[Any]) -> Any:
        from tests.support.cuda_kernels import find

        kernels = find()
        if op is not self.ours or isinstance(kernels, str):
            return super().call(op, inputs)
        with kernels:
            return super().call(op, inputs)


def emulated(case: GpuCase) -> GpuCase:
    return EmulatedCase(**{field.name: getattr(case, field.name) for field in fields(case)})


small_tasks = partial(tasks, small=True, adapt=emulated)


def nothing_to_take(folder: Path) -> None:
    pass


def rehearse(out: Path, find: Find = small_tasks) -> int:
    """0 where the course lost the rows with faults and nothing else, 1 where it did not, which is said."""
    first = [task.key for task in find("first", StandIn(), State(ceilings=StandIn().ceilings()))]
    faults = {
        ("smoke", first[0]): TRAP,
        ("first", first[1]): HANG,
        ("first", first[2]): TRAP,
        ("first", first[-1]): KILL,
        ("tests", "tests/test_made_up.py::test_7"): TRAP,
        ("memcheck", first[3]): HANG,
    }
    planted = {key for _, key in faults}
    machine = FakeMachine(find, dict(faults), loads=[False, True])
    options = Options(prebuilt=ROOT / "build/gpu_prebuilt")
    with tempfile.TemporaryDirectory() as work:
        course = Course(machine, Results(out), Path(work), options, take=nothing_to_take, missing_tools=lambda: [])
        conclude(course)
    wrong = list(_unexpected(course, planted, len(faults)))
    for line in wrong:
        print(f"rehearsal: {line}", file=sys.stderr)
    print(f"rehearsal: {len(faults)} faults planted, {len(wrong)} surprises, {machine.now - 1000:.0f} s on its clock")
    return 1 if wrong else 0


def _unexpected(course: Course, planted: set[str], count: int) -> Iterator[str]:
    steps = course.results.steps
    if [step.name for step in steps] != [name for name, _, _ in STEPS]:
        yield f"steps: expected {[name for name, _, _ in STEPS]}, got {[step.name for step in steps]}"
    for step in steps:
        if step.result != "ok":
            yield f"{step.name}: expected ok, got {step.result}"
        for row in step.rows:
            if "not reached" in row:
                yield f"{step.name}: {row['key']} was not reached"
            elif "error" in row and row["key"] not in planted:
                yield f"{step.name}: {row['key']}: {row['error']}"
            elif row.get("unchecked"):
                yield f"{step.name}: {row['key']} is unchecked: {row['unchecked']}"
    failed = sum(len(step.failed) for step in steps)
    if failed != count:
        yield f"expected {count} rows lost, got {failed}"
    left = sorted(path.name for path in course.results.out.iterdir())
    if len(left) > 3:
        yield f"expected at most three files, got {', '.join(left)}"
    if len(course.results.short()) > LENGTH:
        yield f"expected at most {LENGTH} characters at the end, got {len(course.results.short())}"
