"""The files that faults are planted in, and what is compiled with them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TESTS = ROOT / "tests/cuda_on_host"
SOURCES = ROOT / "csrc"  # the root of includes
KERNELS = SOURCES / "cuda"
MAIN = TESTS / "test_main.cpp"

# What stands for nvcc or for a GPU's instructions, and CUB's sort: the emulator has its own instead.
CUDA_ONLY = ("primitives/device.h", "primitives/tensor_core.h", "primitives/sort.cu")


def name_of(file: Path) -> str:
    """A kernel file's path in csrc/cuda, its family first."""
    return file.relative_to(KERNELS).as_posix()


def kernel_sources() -> list[Path]:
    """The .cu files that are compiled for the CPU."""
    return [path for path in sorted(KERNELS.glob("*/*.cu")) if name_of(path) not in CUDA_ONLY]


def host_sources() -> list[Path]:
    """What stands for libraries of CUDA."""
    return sorted(TESTS.glob("*_on_host.cpp"))


def kernel_tests() -> list[Path]:
    """The tests of kernels; those of the emulator run none of csrc/cuda."""
    return [path for path in sorted(TESTS.glob("*/test_*.cpp")) if path.parent.name != "emulator"]


def damaged_files() -> list[Path]:
    """The files of csrc/cuda that faults are planted in."""
    files = sorted(path for path in KERNELS.glob("*/*") if path.suffix in (".cu", ".h"))
    return [path for path in files if name_of(path) not in CUDA_ONLY]


def included(file: Path) -> set[Path]:
    """The project's headers that a file includes itself, found beside it or below a root of includes."""
    found = set()
    for name in re.findall(r'#include "([\w/]+\.h)"', file.read_text(encoding="utf-8")):
        path = next((root / name for root in (file.parent, SOURCES, TESTS) if (root / name).exists()), None)
        if path is not None:
            found.add(path.resolve())
    return found


@cache
def compiled_from(file: Path) -> frozenset[Path]:
    """All headers of the project whose text is compiled with `file`."""
    seen: set[Path] = set()
    todo = [file]
    while todo:
        new = included(todo.pop()) - seen
        seen |= new
        todo += new
    return frozenset(seen)
