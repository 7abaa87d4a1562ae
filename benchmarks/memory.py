"""Peak memory of a call beyond its input, measured in a process of its own.

The process makes the inputs, calls the op once on small ones (so that libraries and threads are there), hands free
memory back to the system, resets the kernel's high-water mark of its resident memory (/proc/self/clear_refs) and makes
the call. The mark then less what was resident before is what the call took, scratch memory of the kernels included,
which no counter of torch's sees. Linux only; elsewhere the rows say so.

python -m benchmarks.memory NAME prints the bytes.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from .case import check_close, precise
from .inputs import detections
from .table import markdown, number

MIB = 2**20
LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Peak:
    """mib: what the call took beyond its inputs, of which output_mib is its result; None where it cannot be measured,
    `error` says why. allowed_mib: beyond inputs and result."""

    op: str
    case: str
    mib: float | None
    output_mib: float
    allowed_mib: float
    error: str = ""

    @property
    def extra(self) -> float | None:
        return None if self.mib is None else max(0.0, self.mib - self.output_mib)

    @property
    def reached(self) -> bool | None:
        return None if self.extra is None else self.extra < self.allowed_mib


@dataclass(frozen=True)
class MemoryCase:
    """run: called with make(False), after make(True), small inputs, with which it must give what `reference` gives.
    allowed_mib: beyond inputs and result. tolerance: of the small result, in the norm."""

    op: str
    case: str
    make: Callable[[bool], Sequence[Any]]
    run: Callable[..., Any]
    reference: Callable[..., Any]
    allowed_mib: float
    tolerance: float = 1e-5


def many_boxes(small: bool) -> tuple[Any, ...]:
    return (*detections(1000 if small else 1_000_000, 80, torch.Generator().manual_seed(0)), 0.45)


def many_anchors(small: bool) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    count, objects = (1000, 20) if small else (1_000_000, 2000)
    center, half = torch.rand(count + objects, 2, generator=rng), 0.002 + 0.03 * torch.rand(count + objects, 2)
    boxes = torch.cat([center - half, center + half], dim=1)
    return (
        boxes[:count].contiguous(),
        boxes[count:].contiguous(),
        torch.ones(objects).long(),
        torch.tensor([0, objects]),
    )


def large_map(small: bool) -> tuple[Tensor, ...]:
    side = 16 if small else 256
    return torch.randn(1, 256, side, side), torch.randn(1, 18, side, side), torch.randn(256, 256, 3, 3) / 48


def large_half_map(small: bool) -> tuple[Tensor, ...]:
    image, offset, weight = large_map(small)
    return image.half(), offset, weight.half()


def padded(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, offset, weight: op(x, offset, weight, padding=1)


CASES = {
    "batched_nms": MemoryCase(
        "batched_nms", "N=1000000, 80 classes", many_boxes, rx.batched_nms, rx.reference.batched_nms, 200.0
    ),
    # a matrix of overlaps would take 7,600 MiB
    "match_anchors": MemoryCase(
        *("match_anchors", "1000000 anchors, 2000 objects", many_anchors),
        rx.match_anchors,
        rx.reference.match_anchors,
        100.0,
    ),
    "deform_align": MemoryCase(
        *("deform_align", "1x256x256x256", large_map),
        padded(rx.deform_align),
        padded(rx.reference.deform_align),
        64.0,
    ),
    "deform_align float16": MemoryCase(
        *("deform_align", "1x256x256x256, float16", large_half_map),
        padded(rx.deform_align),
        precise(padded(rx.reference.deform_align)),
        64.0,
        tolerance=1e-3,
    ),
}


def resident(field: str) -> int:
    """Bytes: "VmRSS", resident now, or "VmHWM", the most since the mark was reset."""
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def reset_mark() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def bytes_of(result: Any) -> int:
    tensors = result if isinstance(result, tuple) else (result,)
    return sum(t.numel() * t.element_size() for t in tensors)


def peak_of(run: Callable[[], Any]) -> tuple[int, int]:
    """Bytes that a call takes at its peak, and those of its result. OSError where the system does not tell."""
    ctypes.CDLL(None).malloc_trim(0)  # free memory of ours would else hide what the call takes
    reset_mark()
    before = resident("VmRSS")
    result = run()
    return resident("VmHWM") - before, bytes_of(result)


def measure_here(case: MemoryCase) -> tuple[int, int]:
    """Bytes as `peak_of`; AssertionError where small inputs give a wrong result."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        small = case.make(True)
        check_close(case.run(*small), case.reference(*small), case.tolerance)
        inputs = case.make(False)
        return peak_of(lambda: case.run(*inputs))


def measure(names: Sequence[str] | None = None) -> list[Peak]:
    """The cases, each in a child process."""
    peaks = []
    for name in CASES if names is None else names:
        case = CASES[name]
        command = [sys.executable, "-m", __name__, name]
        error, mib, output = "", None, 0.0
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
            if done.returncode == 0:
                taken, result = map(int, done.stdout.split())
                mib, output = taken / MIB, result / MIB
            else:
                error = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            error = f"stopped after {LIMIT_SECONDS} s"
        peaks.append(Peak(case.op, case.case, mib, output, case.allowed_mib, error))
    return peaks


def table(peaks: Sequence[Peak]) -> list[str]:
    rows = []
    for peak in peaks:
        verdict = (
            f"not measured: {peak.error}" if peak.reached is None else "reached" if peak.reached else "NOT REACHED"
        )
        sizes = (number(peak.mib), number(peak.output_mib), number(peak.extra))
        rows.append([peak.op, peak.case, *sizes, f"below {peak.allowed_mib:g}: {verdict}"])
    head = ("op", "case", "peak beyond the input, MiB", "result, MiB", "beyond the result, MiB", "target")
    return markdown(head, rows) if rows else []


if __name__ == "__main__":
    print(*measure_here(CASES[sys.argv[1]]))
