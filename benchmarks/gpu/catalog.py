"""What is run on a GPU, in three sets: everything once and small, the most telling benchmarks, and the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain

from .box_cases import coding_cases, detect_cases, multiclass_cases, nms_cases
from .case import GpuCase
from .device import Ceilings, Device
from .feature_cases import deconv_cases, deform_cases
from .measure import Row, measure, smoke
from .network_cases import network_cases
from .prepared import Prepared
from .training_cases import loss_cases, matching_cases, mining_cases

Maker = Callable[[str, bool], Iterator[GpuCase]]

FIRST: tuple[Maker, ...] = (deform_cases, deconv_cases, network_cases, detect_cases)
REST: tuple[Maker, ...] = (nms_cases, multiclass_cases, matching_cases, loss_cases, mining_cases, coding_cases)
SETS = ("smoke", "first", "rest", "all")  # all: first and rest
MACHINE = "the machine"  # the row of the ceilings


@dataclass(frozen=True)
class Task:
    """A row to come: nothing is computed before `run`."""

    key: str
    run: Callable[[], Row]


def all_cases(device: str, *, small: bool = False, makers: tuple[Maker, ...] = FIRST + REST) -> Iterator[GpuCase]:
    """Making them costs nothing, their inputs come later."""
    return chain.from_iterable(make(device, small) for make in makers)


class State:
    """What rows hand on to those behind them."""

    def __init__(self, known: Prepared | None = None, ceilings: Ceilings | None = None) -> None:
        self.known = known or Prepared()
        self.ceilings = ceilings


def unchanged(case: GpuCase) -> GpuCase:
    return case


def tasks(
    name: str, device: Device, state: State, *, small: bool = False, adapt: Callable[[GpuCase], GpuCase] = unchanged
) -> list[Task]:
    """Those of a set. adapt: makes another case of each."""
    if name == "smoke":
        return [Task(case.id, partial(smoke, adapt(case))) for case in all_cases(device.name, small=True)]
    makers = {"first": FIRST, "rest": REST, "all": FIRST + REST}[name]

    def time_case(case: GpuCase) -> Row:
        return measure(adapt(case), device, state.ceilings, state.known)

    found = [Task(case.id, partial(time_case, case)) for case in all_cases(device.name, small=small, makers=makers)]
    return found if state.ceilings else [Task(MACHINE, partial(_machine, device, state)), *found]


def _machine(device: Device, state: State) -> Row:
    state.ceilings = device.ceilings()
    return {"machine": device.describe(), "ceilings": asdict(state.ceilings)}
