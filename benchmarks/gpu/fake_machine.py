"""A machine without a GPU to run the course on: a clock that passes only when somebody waits, workers that run in this
process on the CPU, and in place of compilers and pytest what takes their time and tells of made-up tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .catalog import State, Task
from .device import Ceilings, Device, TimesCalls, versions
from .events import DEAD, DONE, EVENTS, SHARD, EventLog
from .timing import Time
from .worker import serve

HANG, KILL, TRAP = "hang", "kill", "trap"
TRAP_MESSAGE = "CUDA error: an illegal memory access was encountered"
# seconds until a process begins, for half of a row, for a test
START, ROW, TEST = 6.0, 0.1, 0.2
MADE_UP_TESTS = 40

Program = Generator[float, None, int]  # yields the seconds until it goes on, returns its exit code


class StandInTimer:
    """Calls what it is to time, once."""

    def call(self, run: Callable[[], Any]) -> Time:
        run()
        return Time(20.0, 1.0)

    def graph(self, run: Callable[[], Any]) -> Time:
        run()
        return Time(10.0, 1.0)


class StandIn:
    """A CPU in the GPU's place; `lost` after a trap."""

    name = "cpu"

    def __init__(self) -> None:
        self.timer: TimesCalls = StandInTimer()
        self.lost = False

    def peak(self, run: Callable[[], Any]) -> int:
        run()
        return 1_000_000

    def alive(self) -> bool:
        return not self.lost

    def ceilings(self) -> Ceilings:
        return Ceilings(4e12, {"float32": 5e13, "tf32": 4e14, "float16": 8e14, "bfloat16": 8e14}, 2.0)

    def describe(self) -> dict[str, Any]:
        return {"gpu": "no GPU: a rehearsal", "multiprocessors": 0, **versions()}


@dataclass
class FakeProcess:
    program: Program
    next_at: float
    ended: int | None = None

    def code(self) -> int | None:
        return self.ended

    def kill(self) -> None:
        if self.ended is None:
            self.program.close()
            self.ended = -9

    def advance(self, now: float) -> None:
        while self.ended is None and self.next_at <= now:
            try:
                self.next_at += next(self.program)
            except StopIteration as end:
                self.ended = end.value


Find = Callable[[str, Device, State], list[Task]]


@dataclass
class FakeMachine:
    """find: the rows of a set. faults: (step, key of a row) -> HANG, KILL or TRAP, once.
    loads: what checks of the libraries say one after the other. missing: programs that are not there. seconds: how long
    commands take whose line has this word."""

    find: Find
    faults: dict[tuple[str, str], str] = field(default_factory=dict)
    loads: list[bool] = field(default_factory=lambda: [True])
    missing: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=lambda: {"--build": 45.0})
    tests: int = MADE_UP_TESTS
    now: float = 1000.0
    started: list[list[str]] = field(default_factory=list)
    running: list[FakeProcess] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for process in self.running:
            process.advance(self.now)

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> FakeProcess:
        program = Path(command[0]).name
        if program in self.missing:
            raise FileNotFoundError(2, "No such file or directory", program)
        self.started.append(list(command))
        process = FakeProcess(self._program(list(command), log, environment), self.now)
        self.running = [*(other for other in self.running if other.ended is None), process]
        return process

    def _program(self, command: list[str], log: Path, environment: Mapping[str, str]) -> Program:
        if "benchmarks.gpu.worker" in command:
            at = command.index("benchmarks.gpu.worker")
            tool = command[command.index("--tool") + 1] if "--tool" in command else ""
            return self._worker(command[at + 1 :], tool, log, environment)
        if "pytest" in command:
            return self._pytest(log, environment)
        if "--check" in command:
            return _say(3.0, log, self.loads.pop(0))
        return _say(next((s for word, s in self.seconds.items() if word in command), 2.0), log, True)

    def _worker(self, arguments: list[str], tool: str, log: Path, environment: Mapping[str, str]) -> Program:
        step = tool or arguments[0]
        device = StandIn()

        def find(name: str, device: Device, state: State) -> list[Task]:
            return [self._with_trap(step, task, device) for task in self.find(name, device, state)]

        yield START
        serving = serve(arguments, EventLog(Path(environment[EVENTS])), _done(environment), device, find)
        while True:
            try:
                event = next(serving)
            except StopIteration as end:
                if tool:
                    _write(log, "========= ERROR SUMMARY: 0 errors")
                return end.value
            fault = self.faults.get((step, event.get("began", "")))
            if fault == HANG:
                del self.faults[step, event["began"]]
                yield float("inf")
            if fault == KILL:
                del self.faults[step, event["began"]]
                return -9
            yield ROW

    def _with_trap(self, step: str, task: Task, device: Any) -> Task:
        if self.faults.get((step, task.key)) != TRAP:
            return task

        def trap() -> dict[str, Any]:
            device.lost = True
            raise RuntimeError(TRAP_MESSAGE)

        return Task(task.key, trap)

    def _pytest(self, log: Path, environment: Mapping[str, str]) -> Program:
        """Tells of made-up tests as `pytest_events` does."""
        first, step = (int(part) for part in environment[SHARD].split("/"))
        keys = [f"tests/test_made_up.py::test_{i}" for i in range(first, self.tests, step)]
        events, done = EventLog(Path(environment[EVENTS])), _done(environment)
        yield START
        events.write({"plan": keys})
        for key in keys:
            if key in done:
                continue
            events.write({"began": key})
            yield TEST
            fault = self.faults.get(("tests", key))
            if fault == HANG:
                yield float("inf")
            if fault == KILL:
                return -9
            events.write({"row": {"key": key, "seconds": TEST, **({"error": TRAP_MESSAGE} if fault else {})}})
            if fault:
                return DEAD
        return 0


def _say(seconds: float, log: Path, well: bool) -> Program:
    _write(log, "it says that all is well" if well else "ImportError: undefined symbol: made_up")
    yield seconds
    return 0 if well else 1


def _write(log: Path, line: str) -> None:
    with log.open("a") as file:
        print(line, file=file)


def _done(environment: Mapping[str, str]) -> set[str]:
    return set(json.loads(Path(environment[DONE]).read_text()))
