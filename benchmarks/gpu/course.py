"""The steps of a check in the order of their value, each with its part of the time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import libraries
from .events import SHARD
from .processes import Machine, environment
from .results import UNDER_WAY, Results, StepResult
from .supervise import Lane, Limits, run_lanes

TESTS = ("tests/refinedet_ext/cuda", "tests/refinedet_ext/ops", "tests/refinedet/detectors/test_cuda_kernels.py")
TEST_PROCESSES = 8
RESERVE = 15.0  # seconds for the summary
LEAST = 10.0  # with less a step is not begun: a process needs as much to start
ENOUGH = 20.0  # what a step gets in any case, if that is left: those before are worth more than those behind
# how a mangled name of one of our kernels begins
KERNELS = "kns=_ZN9refinedet4cuda"
ERRORS = "ERROR SUMMARY: "

ROWS = Limits(row=30, start=90)
TEST_ROWS = Limits(row=60, start=90)
SANITIZED_ROWS = Limits(row=60, start=120)


@dataclass(frozen=True)
class Options:
    """architecture: of the GPU, "90" for Hopper. prebuilt, prepared: None where there is none."""

    minutes: float = 8.0
    architecture: str = "90"
    prebuilt: Path | None = None
    prepared: Path | None = None


@dataclass
class Course:
    """work: a folder for logs and what processes tell; it is not kept.
    take, missing_tools: of `libraries`, but in a rehearsal."""

    machine: Machine
    results: Results
    work: Path
    options: Options = field(default_factory=Options)
    take: Callable[[Path], object] = libraries.take
    missing_tools: Callable[[], list[str]] = libraries.missing_tools

    def run(self) -> int:
        """0 where all went well, 1 where something failed or was not reached."""
        end = self.machine.clock() + 60 * self.options.minutes - RESERVE
        shares = [share for _, share, _ in STEPS]
        usable = True
        for i, (name, share, step) in enumerate(STEPS):
            began = self.machine.clock()
            left = end - began
            limit = max(left * share / sum(shares[i:]), min(left, ENOUGH))
            current = StepResult(name, UNDER_WAY, 0.0)
            self.results.steps.append(current)
            if not usable:
                current.result = "not run: there are no libraries"
            elif left < LEAST:
                current.result = "not reached in the time given"
            else:
                current.result = step(self, current, began + limit)
            current.seconds = round(self.machine.clock() - began, 1)
            self.results.save(self.work)
            print("  ".join([name.ljust(16), *current.line()[1:]]), flush=True)
            usable = usable and (step is not provide_libraries or current.result == "ok")
        return 0 if self.results.ok else 1

    def command(self, name: str, command: Sequence[str], deadline: float) -> str:
        """Runs it to its end or the deadline: "ok", or what happened."""
        try:
            process = self.machine.start(command, self.log(name), self.environment())
        except FileNotFoundError as error:
            return f"missing: {error.filename}"
        try:
            while (code := process.code()) is None:
                if self.machine.clock() > deadline:
                    return "stopped at its limit"
                self.machine.wait(0.1)
        finally:
            process.kill()
        return "ok" if code == 0 else f"ended with {code}"

    def environment(self, **more: str) -> dict[str, str]:
        """With the packages that were brought."""
        brought = () if self.options.prebuilt is None else (self.options.prebuilt / libraries.PACKAGES,)
        return environment(*brought, **more)

    def log(self, name: str) -> Path:
        return self.work / f"{name}.log"

    def last_line(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")

    def rows(self, current: StepResult, lanes: Sequence[Lane], deadline: float) -> str:
        """Runs the lanes; their rows become the step's."""

        saved = took = 0.0

        def changed() -> None:
            nonlocal saved, took
            current.rows = [row for lane in lanes for row in lane.rows]
            now = self.machine.clock()
            if now - saved >= 20 * took:  # thousands of tests would else leave no time for anything but writing
                self.results.save()
                saved = self.machine.clock()
                took = saved - now

        try:
            return run_lanes(lanes, deadline, changed)
        finally:
            current.rows = [row for lane in lanes for row in lane.rows]

    def worker(self, wanted: str) -> list[str]:
        command = [sys.executable, "-m", "benchmarks.gpu.worker", wanted]
        command += ["--ceilings", str(self.work / "ceilings.json")]
        return command + (["--prepared", str(self.options.prepared)] if self.options.prepared is not None else [])


def provide_libraries(course: Course, current: StepResult, deadline: float) -> str:
    """Those that were built before, where they load; else from source."""
    check = [sys.executable, "-m", "benchmarks.gpu.libraries", "--check"]
    notes = []
    if course.options.prebuilt is not None:
        try:
            course.take(course.options.prebuilt)
        except (OSError, ValueError) as error:
            notes.append(f"prebuilt: {error}")
        else:
            result = course.command("prebuilt", check, deadline)
            current.note = f"prebuilt: {course.last_line('prebuilt')}"
            if result == "ok":
                return "ok"
            notes.append(f"prebuilt {result}: {course.last_line('prebuilt')}")
    missing = course.missing_tools()
    if missing:
        current.note = "; ".join(notes)
        return f"cannot build: no {', '.join(missing)}"
    steps = zip(("configure", "build", "install"), libraries.from_source(course.options.architecture), strict=True)
    for name, command in (*steps, ("built", check)):
        result = course.command(name, command, deadline)
        if result != "ok":
            current.note = "; ".join([*notes, course.last_line(name)])
            return f"{name}: {result}"
    current.note = "; ".join([*notes, f"from source: {course.last_line('built')}"])
    return "ok"


def rows_of(wanted: str) -> Callable[[Course, StepResult, float], str]:
    def step(course: Course, current: StepResult, deadline: float) -> str:
        lane = Lane(course.machine, course.worker(wanted), course.work, wanted, ROWS, course.environment())
        return course.rows(current, [lane], deadline)

    return step


def run_tests(course: Course, current: StepResult, deadline: float) -> str:
    """In several processes: most of a test's time is the CPU's, which computes what is expected."""
    pytest = [
        *(sys.executable, "-m", "pytest", "-p", "benchmarks.gpu.pytest_events", "-q", "-m", "cuda", "--tb=short"),
        # without the plugins that the project's own settings ask for, which may not be here
        *(
            "-o",
            "addopts=",
            "-o",
            "filterwarnings=default",
            "-p",
            "no:cacheprovider",
            "--continue-on-collection-errors",
        ),
    ]
    lanes = []
    for i in range(TEST_PROCESSES):
        settings = course.environment(OMP_NUM_THREADS="2", **{SHARD: f"{i}/{TEST_PROCESSES}"})
        lanes.append(Lane(course.machine, [*pytest, *TESTS], course.work, f"tests{i}", TEST_ROWS, settings))
    return course.rows(current, lanes, deadline)


def sanitize(tool: str) -> Callable[[Course, StepResult, float], str]:
    """Every op once under compute-sanitizer, which looks at our kernels alone."""

    def step(course: Course, current: StepResult, deadline: float) -> str:
        sanitizer = libraries.find_tool("compute-sanitizer") or "compute-sanitizer"
        command = [
            sanitizer,
            "--tool",
            tool,
            "--kernel-regex",
            KERNELS,
            "--error-exitcode",
            "9",
            *course.worker("smoke"),
        ]
        # torch's caching of memory would hide accesses between tensors
        settings = course.environment(PYTORCH_NO_CUDA_MEMORY_CACHING="1")
        lane = Lane(course.machine, command, course.work, tool, SANITIZED_ROWS, settings)
        result = course.rows(current, [lane], deadline)
        log = lane.log.read_text(errors="replace").splitlines() if lane.log.exists() else []
        current.note = "; ".join(line[line.index(ERRORS) + len(ERRORS) :] for line in log if ERRORS in line)
        return result

    return step


Step = Callable[[Course, StepResult, float], str]

# name, share of the time: what a step does not use is the others'. Without libraries nothing else can be had
STEPS: tuple[tuple[str, float, Step], ...] = (
    ("libraries", 60, provide_libraries),
    ("smoke", 12, rows_of("smoke")),
    ("benchmarks", 30, rows_of("first")),
    ("tests", 25, run_tests),
    ("more benchmarks", 15, rows_of("rest")),
    ("memcheck", 8, sanitize("memcheck")),
    ("racecheck", 8, sanitize("racecheck")),
)
