"""Programs of one kernel test, with all files as they are or one damaged, and what they notice when they run."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from .faults import Fault
from .sources import KERNELS, MAIN, ROOT, SOURCES, TESTS, compiled_from, host_sources, kernel_sources, kernel_tests


@dataclass(frozen=True)
class Build:
    """As in CMakeLists.txt."""

    name: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


BUILDS = (
    Build("plain", ("-O2",), arguments=("--schedules",)),
    Build("address", ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")),
    Build("thread", ("-O1", "-g1", "-fsanitize=thread"), environment=(("COH_ORDER", "random"),)),
)
FLAGS = ("-std=c++20", "-w", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-DREFINEDET_CUDA_ON_HOST")
DOES_NOT_COMPILE = "does not compile"
SIGNS = {
    "deadlock": "deadlock",
    "barrier": "barrier",
    "warp operation": "mask",
    "is not in its own mask": "mask",
    "cp.async": "copy",
    "ThreadSanitizer: data race": "race",
    "ThreadSanitizer": "crash",
    "AddressSanitizer": "address",
    "runtime error": "undefined",
    "GPU_CHECK": "check",
    "FAIL": "wrong result",
}


def classify(output: str, code: int) -> str:
    """What a program noticed, "" if nothing: by its output and exit status (below 0: the signal that ended it)."""
    if code == 0:
        return ""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "hang"
    return next((what for sign, what in SIGNS.items() if sign in output), "crash" if code < 0 else f"exit {code}")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


@cache
def digest_of(file: Path) -> str:
    return digest(file.read_text(encoding="utf-8"))


def key_of(files: Iterable[Path], build: Build, damaged: dict[Path, str]) -> str:
    """Names what is compiled from `files`, of which those in `damaged` have another digest."""
    texts = (f"{file.relative_to(ROOT)} {damaged.get(file) or digest_of(file)}" for file in files)
    return digest("\n".join([*FLAGS, *build.flags, *texts]))


@cache
def undamaged_key(files: tuple[Path, ...], build: Build) -> str:
    return key_of(files, build, {})


class Workshop:
    """Builds and runs.

    Args:
        folder: of the objects of undamaged sources, which are named by what they are compiled from.
        library: the CPU kernels, librefinedet_cpu.a.
        limit: seconds of processor time for a test; what takes longer hangs.
        jobs: compilers at a time while undamaged objects are built.
    """

    def __init__(self, folder: Path, library: Path, limit: int, jobs: int) -> None:
        self.folder, self.library, self.limit, self.jobs = folder, library, limit, jobs
        self.compiler = shlex.split(os.environ.get("CXX", "g++"))
        self.tests = kernel_tests()
        self.steps: dict[Path, dict[Path, int]] = {}

    # ---------------------------------------------------------------- what a test reaches

    def link(self) -> None:
        """Builds what tells what tests reach, which all else needs."""
        self.steps = self.find_steps()

    def find_steps(self) -> dict[Path, dict[Path, int]]:
        """The sources that each test needs, by its objects' symbols: over how many files it gets there."""
        sources = [*kernel_sources(), *host_sources(), *self.tests]
        self.build(sources, BUILDS[0])
        needs: dict[Path, set[str]] = {}
        has: dict[str, Path] = {}
        for source in sources:
            command = ["nm", "--format=posix", str(self.object_of(source, BUILDS[0]))]
            symbols = [line.split()[:2] for line in subprocess.check_output(command, text=True).splitlines()]
            needs[source] = {name for name, kind in symbols if kind == "U"}
            has |= {name: source for name, kind in symbols if kind == "T" and source not in self.tests}
        found = {}
        for test in self.tests:
            steps: dict[Path, int] = {}
            ring, distance = {test}, 0
            while ring:
                steps |= dict.fromkeys(ring, distance)
                ring = {has[name] for source in ring for name in needs[source] if name in has} - set(steps)
                distance += 1
            found[test] = steps
        return found

    def sources_of(self, test: Path) -> list[Path]:
        """All that is linked with a test."""
        return [MAIN, *self.steps[test]]

    def damaged_sources(self, test: Path, fault: Fault) -> list[Path]:
        """Those of a test's sources that are compiled with the damaged file."""
        damaged = KERNELS / fault.file
        return [source for source in self.steps[test] if source == damaged or damaged in compiled_from(source)]

    def nearest_first(self, fault: Fault) -> list[Path]:
        """The tests that reach a fault: nearest first, of those first of its family, then where least is compiled."""
        effort = {}
        for test in self.tests:
            sources = self.damaged_sources(test, fault)
            if sources:
                other_family = test.parent.name != fault.file.split("/")[0]
                effort[test] = (min(self.steps[test][source] for source in sources), other_family, len(sources))
        return sorted(effort, key=lambda test: effort[test])

    # ---------------------------------------------------------------- what an outcome depends on

    def object_key(self, source: Path, build: Build, fault: Fault | None = None) -> str:
        files = [source, *sorted(compiled_from(source))]
        if fault is None or KERNELS / fault.file not in files:
            return undamaged_key(tuple(files), build)
        return key_of(files, build, {KERNELS / fault.file: digest(fault.text)})

    def key(self, test: Path, build: Build, fault: Fault | None = None) -> str:
        """The CPU kernels are not in it: they say what results should be."""
        keys = [self.object_key(source, build, fault) for source in sorted(self.sources_of(test))]
        return digest("\n".join([*keys, *build.arguments, *(f"{k}={v}" for k, v in build.environment)]))

    # ---------------------------------------------------------------- building and running

    def object_of(self, source: Path, build: Build) -> Path:
        """Of an undamaged source, with its folders: two families may each have a file of one name."""
        name = "_".join(source.relative_to(ROOT).with_suffix("").parts)
        return self.folder / build.name / f"{name}-{self.object_key(source, build)}.o"

    def build(self, sources: Iterable[Path], build: Build) -> None:
        """Of undamaged sources what is not there."""

        def make(source: Path) -> None:
            target = self.object_of(source, build)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_suffix(".part")
                if (error := self.compile(source, part, build)) is not None:
                    raise SystemExit(f"{source} does not compile undamaged in the {build.name} build:\n{error}")
                part.rename(target)

        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(make, sources))

    def compile(self, source: Path, target: Path, build: Build, root: Path = SOURCES) -> str | None:
        """With the root `root` of includes; the compiler's words where it cannot."""
        command = [*self.compiler, *FLAGS, *build.flags, f"-I{TESTS}", f"-I{root}", "-x", "c++", "-c"]
        done = subprocess.run([*command, source, "-o", target], capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else done.stderr

    def run(self, test: Path, build: Build, folder: Path, fault: Fault | None = None) -> str:
        """What a test notices of a fault, "" if nothing. All else is built; the fault's objects stay in `folder`."""
        damaged = [] if fault is None else self.damaged_sources(test, fault)
        if fault is not None and not (folder / "csrc").exists():
            damage_copy(folder / "csrc", fault)
        objects = []
        for source in self.sources_of(test):
            target = self.object_of(source, build)
            if source in damaged:
                target = folder / build.name / target.name
                target.parent.mkdir(exist_ok=True)
                if source.is_relative_to(KERNELS):  # its neighbours are found in its own folder first
                    source = folder / "csrc" / source.relative_to(SOURCES)
                if not target.exists() and self.compile(source, target, build, folder / "csrc") is not None:
                    return DOES_NOT_COMPILE
            objects.append(target)
        program = folder / "test"
        link = [*self.compiler, *build.flags, *map(str, objects), str(self.library), "-o", str(program), "-pthread"]
        subprocess.run(link, check=True)
        return self.outcome_of([str(program), "--first-failure", *build.arguments], build)

    def outcome_of(self, command: list[str], build: Build) -> str:
        process = subprocess.Popen(
            command,
            env=os.environ | dict(build.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (self.limit, self.limit + 1))
        try:
            output, _ = process.communicate(timeout=20 * self.limit)  # sleeps, or the machine is busy
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        return classify(output, process.returncode)


def damage_copy(root: Path, fault: Fault) -> None:
    """Makes `root` a root of includes that has the fault and is like csrc otherwise."""
    root.mkdir()
    for part in SOURCES.iterdir():
        if part != KERNELS:
            (root / part.name).symlink_to(part)
    shutil.copytree(KERNELS, root / "cuda")
    (root / "cuda" / fault.file).write_text(fault.text, encoding="utf-8")
