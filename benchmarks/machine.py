"""What this machine does at best, measured in the same run, and what it is."""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

import refinedet_ext as rx

from .peers import version_of
from .timing import measure

COPY_MIB = (0.25, 4.0, 256.0)  # read and written: in the second-level cache, in the third, in memory
GEMM_SIDE = 1024
LIBRARIES = ("torchvision", "mmcv", "onnxruntime", "openvino", "lsnms", "powerboxes", "cv2")


@dataclass(frozen=True)
class Rates:
    """With a number of threads: GFLOP/s of a square matrix product by dtype, and GB/s of a copy, read and written, by
    the MiB that it moves."""

    gemm: dict[str, float]
    copy: dict[float, float]

    def floor(self, flops: float, moved: float, dtype: str) -> float:
        """Milliseconds in which nothing can compute and move so much here."""
        moving = 0.0
        if moved:
            nearest = min(self.copy, key=lambda mib: abs(math.log(moved / 2**20 / mib)))
            moving = moved / (self.copy[nearest] * 1e6)
        return max(moving, flops / (self.gemm.get(dtype, self.gemm["float32"]) * 1e6))


def measure_rates(seconds: float = 0.5) -> Rates:
    """With torch's present number of threads."""
    gemm, copy = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(GEMM_SIDE, GEMM_SIDE).to(dtype) for _ in range(2))
        out = a @ b
        best = measure({"gemm": partial(torch.mm, a, b, out=out)}, seconds=seconds)["gemm"]
        gemm[str(dtype)[6:]] = 2 * GEMM_SIDE**3 / (best.low * 1e6)
    for mib in COPY_MIB:
        source = torch.ones(int(mib * 2**20) // 8)
        into = torch.empty_like(source)
        best = measure({"copy": partial(into.copy_, source)}, seconds=seconds)["copy"]
        copy[mib] = mib * 2**20 / (best.low * 1e6)
    return Rates(gemm, copy)


def products_run(products: tuple[tuple[int, int, int], ...], dtype: str) -> Any:
    """A call that does these matrix products (m, n, k) into buffers that exist already, on random numbers."""
    made = []
    for m, n, k in products:
        kind = getattr(torch, dtype)
        made.append((torch.randn(m, k).to(kind), torch.randn(k, n).to(kind), torch.empty(m, n, dtype=kind)))

    def run() -> None:
        for a, b, out in made:
            torch.mm(a, b, out=out)

    return run


@dataclass(frozen=True)
class Machine:
    """The head of a table: versions, processor, threads, date, and the rates by number of threads."""

    date: str
    processor: str
    cores: int
    torch: str
    python: str
    peers: dict[str, str]
    build: dict[str, Any]
    rates: dict[int, Rates] = field(default_factory=dict)

    def lines(self) -> list[str]:
        missing = [name for name, version in self.peers.items() if version == "missing"]
        present = [f"{name} {version}" for name, version in self.peers.items() if version != "missing"]
        lines = [
            f"{self.processor}, {self.cores} core{'s' * (self.cores > 1)}, {self.build['cpu_level']} kernels, "
            f"torch {self.torch}, Python {self.python}, {self.date}.",
            f"Peers: {', '.join(present) or 'torch alone'}. Missing: {', '.join(missing) or 'none'}.",
        ]
        for threads, rates in self.rates.items():
            # below 1 where the processor emulates the dtype
            gemm = ", ".join(f"{dtype} {rate:.{0 if rate >= 1 else 2}f}" for dtype, rate in rates.gemm.items())
            copy = ", ".join(f"{mib:g} MiB {rate:.0f}" for mib, rate in rates.copy.items())
            lines.append(f"{threads} thread{'s' * (threads > 1)}: GEMM {gemm} GFLOP/s; copy of {copy} GB/s.")
        return lines


def describe() -> Machine:
    return Machine(
        date=time.strftime("%Y-%m-%d"),
        processor=processor_name(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch=torch.__version__,
        python=platform.python_version(),
        peers={name: version_of(name) for name in LIBRARIES},
        build=rx.build_info(),
    )


def processor_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
