"""Do the tests of the CUDA kernels notice damage?

Plants one fault at a time in a copy of csrc/cuda (a barrier removed, an atomic made plain, a guard dropped, a bound or
a shared array off by one, a mask halved), builds what it reaches in the three builds of the emulator, runs the tests
that reach it, and says which build noticed. Fails if a fault goes unnoticed by all.

    make faults                                          # all of them: hours
    python tests/cuda_on_host/faults.py --count 30       # a sample
    python tests/cuda_on_host/faults.py deconv_sum --list
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests/cuda_on_host"
SOURCES = ROOT / "csrc"  # the root of includes
KERNELS = SOURCES / "cuda"
CUDA_ONLY = ("primitives/device.h", "primitives/sort.cu")  # what stands for nvcc, and CUB's sort

# Flags and environment, as in CMakeLists.txt.
BUILDS = {
    "plain": (["-O2"], ["--schedules"], {}),
    "address": (["-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"], [], {}),
    "thread": (["-O1", "-g1", "-fsanitize=thread"], [], {"COH_ORDER": "random"}),
}
FLAGS = ["-std=c++20", "-w", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-DREFINEDET_CUDA_ON_HOST"]

# The atomics made plain: reading and writing are two steps, between which others may come.
PLAIN_ATOMICS = """
#include <type_traits>
namespace not_atomic {
template <class T> using V = std::type_identity_t<T>;
#define NOT_ATOMIC(name, expression) \\
  template <class T> T name(T* p, V<T> x) { T old = *p; *p = expression; return old; }
NOT_ATOMIC(Add, old + x) NOT_ATOMIC(Sub, old - x) NOT_ATOMIC(And, old & x) NOT_ATOMIC(Or, old | x)
NOT_ATOMIC(Xor, old ^ x) NOT_ATOMIC(Max, old < x ? x : old) NOT_ATOMIC(Min, x < old ? x : old) NOT_ATOMIC(Exch, x)
template <class T> T CAS(T* p, V<T> e, V<T> x) { T old = *p; if (old == e) *p = x; return old; }
}
"""

# Faults that no pattern finds: (file, text, damaged text, what).
BY_HAND = [
    ("features/deconv_maps.cu", "x + 1 < tile.out_width ? n : 0", "n", "the right taps are not cropped"),
    ("features/deconv_maps.cu", "y + 1 < tile.out_height ? n : 0", "n", "the lower taps are not cropped"),
    (
        "features/deconv_maps.cu",
        "maps_aligned = maps_aligned && is_aligned(p, 16)",
        "",
        "the maps' alignment unasked",
    ),
    ("features/deconv_maps.cu", "tile.first_line % tile.in_height + y", "y", "a tile's first line forgotten"),
    (
        "features/deconv_bias.cu",
        "min2(begin + kSegment, pixels)",
        "(begin + kSegment)",
        "the last segment too long",
    ),
    (
        "features/deconv_product.cu",
        "wait_for_copies<Tile::kStages - 2>()",
        "wait_for_copies<Tile::kStages - 1>()",
        "a chunk too few waited for",
    ),
    ("features/deconv_product.cu", "chunks >= Tile::kStages &&", "", "chunks kept that are fewer than stages"),
    ("features/deconv_product.cu", "column == 0 || load_tile", "load_tile", "the next row's input not loaded"),
    ("features/deconv_places.h", "(2 * x + 1 < out_width ? kRight : 0)", "kRight", "the right taps are not cropped"),
    ("features/deconv_places.h", "(2 * y + 1 < out_height ? kBelow : 0)", "kBelow", "the lower taps are not cropped"),
    ("boxes/map_rows.h", "= aligned ? map_rows_kernel", "= true ? map_rows_kernel", "alignment of the rows unasked"),
    ("boxes/map_rows.h", "row % arrays.period", "row", "shared anchors not repeated"),
]

# Found by a pattern, but no faults, with the reason: (file, a part of the line) of what is damaged.
HARMLESS: dict[tuple[str, str], str] = {
    (
        "nms/batched_nms.cu",
        "for (slot_bits = 1;",
    ): "the hash table is larger than it need be",
    ("features/deconv_product.cu", "if (load_tile < last)"): "chunks come in that nobody multiplies",
    ("features/deconv_product.cu", "if (large >= multiprocessors())"): "large tiles are only slow for small maps",
}


@dataclass(frozen=True)
class Fault:
    file: str  # in csrc/cuda, with its family
    line: int
    what: str
    text: str  # of the damaged file

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"


def closing(text: str, start: int) -> int:
    """The index of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError("unbalanced parentheses")


def arguments_of(text: str, start: int) -> list[tuple[int, int]]:
    """Where the arguments of the call whose parenthesis opens at `start` begin and end."""
    end, depth, cuts = closing(text, start), 0, [start]
    for i in range(start + 1, end):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(text[i], 0)
        if depth == 0 and text[i] == ",":
            cuts.append(i)
    return [(a + 1, b) for a, b in zip(cuts, [*cuts[1:], end], strict=True)]


def damages(text: str) -> Iterator[tuple[int, int, str, str]]:
    """(begin, end, instead, what) of every fault that a pattern finds in a file."""
    for m in re.finditer(r"__sync(threads|warp)\([^()]*\);", text):
        yield *m.span(), ";", f"{m[0][:-3]} removed"
    for m in re.finditer(r"\batomic(Add|Sub|And|Or|Xor|Max|Min|Exch|CAS)\(", text):
        yield *m.span(), f"not_atomic::{m[1]}(", f"atomic{m[1]} made plain"
    for m in re.finditer(r"\bif (constexpr )?(\()", text):
        condition = text[m.start(2) : closing(text, m.start(2)) + 1]
        if not m[1] and re.search(r" [<>]=? ", condition):
            yield m.start(2), m.start(2) + len(condition), "(true)", f"guard {' '.join(condition.split())} dropped"
    for m in re.finditer(r"\bfor \([^;()]*;[^;]*( < )[^;]*;", text):
        if not text[: m.start()].rstrip().endswith("GPU_UNROLL"):  # those go over registers
            yield *m.span(1), " <= ", f"one step too many: {' '.join(m[0].split())}"
    for m in re.finditer(r"\bGPU_CHECK(\()", text):
        end = closing(text, m.start(1)) + 1
        yield m.start(), end, "(void)0", f"check removed: {' '.join(text[m.end() : end - 1].split())}"
    for m in re.finditer(r"GPU_SHARED\([^;\[\]]*\[([^\[\]]*)\]", text):
        yield *m.span(1), f"({m[1]}) - 1", f"shared array too small: {m[0].split(',')[1].strip()}"
    for m in re.finditer(r"\blaunch(\()", text):
        spans = arguments_of(text, m.start(1))
        values = [text[begin:end].strip() for begin, end in spans]
        if "stream" in values and values[at := values.index("stream") - 1] != "0":
            yield *spans[at], f" ({values[at]}) / 2", f"dynamic shared memory halved: {' '.join(values[at].split())}"
    for m in re.finditer(r"_sync\((kAllLanes)\b", text):
        yield *m.span(1), "(kAllLanes >> 16)", "mask halved"


def name_of(file: Path) -> str:
    """A kernel file's path in csrc/cuda, its family first."""
    return file.relative_to(KERNELS).as_posix()


def find_faults(file: Path) -> Iterator[Fault]:
    text, own = file.read_text(), name_of(file)
    code = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)  # of the same length
    for begin, end, instead, what in damages(code):
        line = text.count("\n", 0, begin) + 1
        if not any(name == own and part in text.split("\n")[line - 1] for name, part in HARMLESS):
            yield Fault(own, line, what, text[:begin] + instead + text[end:])
    for name, old, new, what in BY_HAND:
        if name == own:
            if text.count(old) != 1:
                raise SystemExit(f"faults.py: '{old}' is not (once) in {name} any more")
            yield Fault(name, text.count("\n", 0, text.index(old)) + 1, what, text.replace(old, new))


# ---------------------------------------------------------------- what a file reaches


def included(file: Path) -> set[Path]:
    """Headers of csrc/cuda and of the tests that a file includes itself, found beside it or below an include root."""
    found = set()
    for name in re.findall(r'#include "([\w/]+\.h)"', file.read_text()):
        path = next((root / name for root in (file.parent, SOURCES, TESTS) if (root / name).exists()), None)
        if path is not None and (path.is_relative_to(KERNELS) or path.is_relative_to(TESTS)):
            found.add(path)
    return found


@cache
def compiled_from(file: Path) -> frozenset[Path]:
    """All headers of csrc/cuda and of the tests whose text is compiled with `file`."""
    seen: set[Path] = set()
    todo = [file]
    while todo:
        new = included(todo.pop()) - seen
        seen |= new
        todo += new
    return frozenset(seen)


# ---------------------------------------------------------------- building and running


def object_name(source: Path) -> str:
    """Of a file of the project, with its folders: two families may each have a file of one name."""
    return "_".join(source.relative_to(ROOT).with_suffix(".o").parts)


class Workshop:
    """Objects of the undamaged sources, and programs with one file damaged."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder: Path = options.build_folder.resolve()
        self.library: Path = options.cpu_library.resolve()
        self.limit: float = options.time_limit
        self.jobs: int = options.jobs
        self.main = TESTS / "test_main.cpp"
        self.kernels = [p for p in sorted(KERNELS.glob("*/*.cu")) if name_of(p) not in CUDA_ONLY]
        self.tests = sorted(TESTS.glob("*/test_*.cpp"))
        self.build_base([*self.kernels, *sorted(TESTS.glob("*_on_host.cpp")), *self.tests], ["plain"])
        self.used = {test: self.link(test) for test in self.tests}

    def link(self, test: Path) -> dict[Path, int]:
        """The kernel files that a test needs, by its objects' symbols: how many files it takes to get there."""
        needs, has = {}, {}
        for source in [*self.kernels, *sorted(TESTS.glob("*_on_host.cpp")), test]:
            command = ["nm", "--format=posix", self.base_object(source, "plain")]
            symbols = [line.split()[:2] for line in subprocess.check_output(command, text=True).splitlines()]
            needs[source] = {name for name, kind in symbols if kind == "U"}
            has |= {name: source for name, kind in symbols if kind == "T"}
        steps: dict[Path, int] = {}
        ring = {test}
        while ring:
            steps |= dict.fromkeys(ring, len(set(steps.values())))
            ring = {has[name] for source in ring for name in needs[source] if name in has} - set(steps)
        return steps

    def nearest_first(self, file: str) -> list[list[Path]]:
        """The tests that run a file, in groups, those that stand nearest to it first."""
        groups: dict[int, list[Path]] = {}
        damaged = KERNELS / file
        for test, steps in self.used.items():
            found = [d for source, d in steps.items() if source == damaged or damaged in compiled_from(source)]
            if found:
                groups.setdefault(min(found), []).append(test)
        return [groups[distance] for distance in sorted(groups)]

    def prepare(self, faults: list[Fault]) -> None:
        """Builds what runs them, and sees that it passes undamaged."""
        reached = {test for fault in faults for group in self.nearest_first(fault.file) for test in group}
        self.build_base([self.main, *{source for test in reached for source in self.used[test]}], list(BUILDS))
        with tempfile.TemporaryDirectory() as folder:
            for build in BUILDS:
                for test in sorted(reached):
                    noticed = self.run(self.objects(test, build), Path(folder) / "test", build)
                    if noticed != "-":
                        raise SystemExit(f"faults.py: {test.name} fails undamaged in the {build} build: {noticed}")

    def objects(self, test: Path, build: str) -> list[Path]:
        return [self.base_object(source, build) for source in [self.main, *self.used[test]]]

    def compile(self, source: Path, target: Path, build: str, sources: Path = SOURCES) -> bool:
        """With the include root `sources`."""
        target.parent.mkdir(parents=True, exist_ok=True)
        command = ["g++", *FLAGS, *BUILDS[build][0], f"-I{TESTS}", f"-I{sources}", "-include", self.folder / "plain.h"]
        done = subprocess.run([*command, "-x", "c++", "-c", source, "-o", target], capture_output=True, check=False)
        return done.returncode == 0

    def base_object(self, source: Path, build: str) -> Path:
        return self.folder / build / object_name(source)

    def build_base(self, sources: list[Path], builds: list[str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        prelude = self.folder / "plain.h"
        if not prelude.exists() or prelude.read_text() != PLAIN_ATOMICS:
            prelude.write_text(PLAIN_ATOMICS)
        headers = [p for folder in (SOURCES, TESTS) for p in folder.rglob("*.h")]
        newest = max(p.stat().st_mtime for p in [*headers, prelude])

        def make(work: tuple[Path, str]) -> None:
            source, build = work
            target = self.base_object(source, build)
            if target.exists() and target.stat().st_mtime > max(newest, source.stat().st_mtime):
                return
            if not self.compile(source, target, build):
                raise SystemExit(f"faults.py: {source} does not compile undamaged")

        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(make, [(source, build) for source in sources for build in builds]))

    def run(self, objects: list[Path], program: Path, build: str) -> str:
        """ "-" where all is well, else what was noticed."""
        flags, arguments, environment = BUILDS[build]
        command = ["g++", *flags, *objects, self.library, "-o", program, "-pthread"]
        subprocess.run(command, check=True, capture_output=True)
        process = subprocess.Popen(
            [program, *arguments],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=self.limit)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "hang"
        return "-" if process.returncode == 0 else classify(output, process.returncode)

    def try_fault(self, fault: Fault) -> dict[str, str]:
        """What each build notices; nothing at all where the damaged file does not compile."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sources = folder / "csrc"
            sources.mkdir()
            for part in SOURCES.iterdir():
                if part != KERNELS:
                    (sources / part.name).symlink_to(part)
            shutil.copytree(KERNELS, sources / "cuda")
            (sources / "cuda" / fault.file).write_text(fault.text)

            def damaged_object(source: Path, build: str) -> Path | None:
                """None where it does not compile."""
                if source != KERNELS / fault.file and KERNELS / fault.file not in compiled_from(source):
                    return self.base_object(source, build)
                target = folder / build / object_name(source)
                if source.is_relative_to(KERNELS):  # its neighbours are found in its own folder first
                    source = sources / source.relative_to(SOURCES)
                return target if target.exists() or self.compile(source, target, build, sources) else None

            results: dict[str, str] = dict.fromkeys(BUILDS, "-")
            for group in self.nearest_first(fault.file):
                for test in group:
                    for build in BUILDS:
                        objects = [damaged_object(source, build) for source in [self.main, *self.used[test]]]
                        if None in objects:
                            return {}
                        noticed = self.run([o for o in objects if o is not None], folder / "test", build)
                        results[build] = noticed if results[build] == "-" else results[build]
                if any(noticed != "-" for noticed in results.values()):
                    break
            return results


def classify(output: str, code: int) -> str:
    signs = {
        "divergent barrier": "barrier",
        "deadlock in block": "deadlock",
        "divergent warp operation": "mask",
        "is not in its own mask": "mask",
        "ThreadSanitizer: data race": "race",
        "ThreadSanitizer": "crash",
        "AddressSanitizer": "address",
        "runtime error": "undefined",
        "GPU_CHECK": "check",
        "FAIL": "wrong result",
    }
    return next((what for sign, what in signs.items() if sign in output), "crash" if code < 0 else f"exit {code}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="only files of csrc/cuda whose paths contain one of these")
    parser.add_argument("--count", type=int, help="only so many faults, chosen by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--time-limit", type=float, default=120, help="seconds for a run of a test")
    parser.add_argument("--list", action="store_true", help="print the faults and do nothing")
    parser.add_argument("--build-folder", type=Path, default=ROOT / "build/faults")
    parser.add_argument("--cpu-library", type=Path, default=ROOT / "build/editable/librefinedet_cpu.a")
    options = parser.parse_args()

    files = sorted(p for p in KERNELS.glob("*/*") if p.suffix in (".cu", ".h") and name_of(p) not in CUDA_ONLY)
    files = [p for p in files if not options.names or any(name in name_of(p) for name in options.names)]
    faults = [fault for file in files for fault in find_faults(file)]
    if options.count is not None and options.count < len(faults):
        chosen = set(random.Random(options.seed).sample(range(len(faults)), options.count))
        faults = [fault for i, fault in enumerate(faults) if i in chosen]
    if options.list:
        print(*faults, sep="\n")
        return 0

    if not options.cpu_library.exists():
        raise SystemExit(f"faults.py: {options.cpu_library} is not built (make test-cpp)")
    workshop = Workshop(options)
    workshop.prepare(faults)
    print(f"{len(faults)} faults\n{'':70} | " + " | ".join(f"{build:12}" for build in BUILDS), flush=True)
    unnoticed = broken = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for fault, results in zip(faults, pool.map(workshop.try_fault, faults), strict=True):
            if not results:
                broken += 1
                print(f"{str(fault)[:70]:70} | does not compile", flush=True)
                continue
            missed = all(r == "-" for r in results.values())
            unnoticed += missed
            line = f"{str(fault)[:70]:70} | " + " | ".join(f"{results[build]:12}" for build in BUILDS)
            print(line + (" | UNNOTICED" if missed else ""), flush=True)
    print(f"{unnoticed} of {len(faults)} went unnoticed, {broken} do not compile")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
