"""The GPU as the benchmarks see it: a timer, its memory, its ceilings, whether it still answers."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch

import refinedet_ext as rx

from ..peers import version_of
from .timing import Time, Timer


@dataclass(frozen=True)
class Ceilings:
    """What a GPU does at best: bytes per second of a large copy (read and written), operations per second of a large
    matrix product of random numbers by dtype, and the time in microseconds of an empty kernel in a graph."""

    copy: float
    products: dict[str, float]
    launch: float


class TimesCalls(Protocol):
    """`timing.Timer` on a GPU."""

    def call(self, run: Callable[[], Any]) -> Time: ...
    def graph(self, run: Callable[[], Any]) -> Time: ...


class Device(Protocol):
    """`Gpu`, or what stands for it where there is none (`rehearsal.StandIn`)."""

    name: str
    timer: TimesCalls

    def peak(self, run: Callable[[], Any]) -> int: ...
    def alive(self) -> bool: ...
    def ceilings(self) -> Ceilings: ...
    def describe(self) -> dict[str, Any]: ...


class Gpu:
    name = "cuda"

    def __init__(self) -> None:
        self.timer: TimesCalls = Timer()

    def peak(self, run: Callable[[], Any]) -> int:
        """Bytes that a call takes, its results included."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before

    def alive(self) -> bool:
        """False after a trap or an access out of bounds: the process then gets nothing but errors from the GPU. Also
        gives back what a row that failed has left in the allocator."""
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:
            return False
        return True

    def ceilings(self) -> Ceilings:
        source = torch.empty(1 << 28, device="cuda").normal_()
        target = torch.empty_like(source)
        copy = 2 * source.numel() * 4 / (self.timer.call(lambda: target.copy_(source)).median * 1e-6)
        products = {}
        kinds = {"float32": torch.float32, "tf32": torch.float32, "float16": torch.half, "bfloat16": torch.bfloat16}
        for name, dtype in kinds.items():
            size = 4096 if name == "float32" else 8192
            a, b = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
            before, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, name == "tf32"
            products[name] = 2 * size**3 / (self.timer.call(partial(torch.mm, a, b)).median * 1e-6)
            torch.backends.cuda.matmul.allow_tf32 = before
        one = torch.zeros(1, device="cuda")
        return Ceilings(copy, products, self.timer.graph(lambda: one.add_(1)).median)

    def describe(self) -> dict[str, Any]:
        properties = torch.cuda.get_device_properties(0)
        return {"gpu": properties.name, "multiprocessors": properties.multi_processor_count, **versions()}


def versions() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "torchvision": version_of("torchvision"),
        "python": platform.python_version(),
        "build": rx.build_info(),
    }
