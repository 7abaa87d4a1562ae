"""Expected results that take a CPU long, prepared before a GPU is at hand.

A file keeps a sketch of each: sums of its elements with random signs, a few kilobytes however large it is. The norm of
the difference of two sketches is, to a few percent, that of the difference of what was sketched. What the file does not
know, or only for other inputs, is computed on the spot, and so is everything that does not agree with it: a file that
is out of date costs time, and never says that a right result is wrong.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..case import TOLERANCES
from .case import GpuCase

FORMAT = 1
SIZE = 4096  # the estimate of a norm spreads by sqrt(2 / SIZE), 2%


def sketch(t: Tensor) -> Tensor:
    """(SIZE,) float64 on the CPU. Linear in t; the same for every layout and device but for rounding."""
    flat = t.detach().double().flatten()
    rng = torch.Generator().manual_seed(flat.numel())
    signs = torch.randint(2, flat.shape, generator=rng, dtype=torch.int8).to(t.device) * 2 - 1
    padded = torch.nn.functional.pad(flat * signs, (0, -flat.numel() % SIZE))
    return padded.view(-1, SIZE).sum(0).cpu()


def checksum(t: Tensor) -> int:
    """Of the bits, in any layout and on any device."""
    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[t.element_size()]
    bits = t.detach().contiguous().view(integers).flatten().long()
    odd = 2 * torch.arange(bits.numel(), device=t.device) + 1
    return int((bits * odd * -7046029254386353131).sum())  # modulo 2^64


class Prepared:
    """What is known of the expected results; empty without a file."""

    def __init__(self, entries: dict[str, dict[str, Any]] | None = None) -> None:
        self.entries = {} if entries is None else entries

    @staticmethod
    def load(path: Path) -> Prepared:
        """OSError where it cannot be read, ValueError where it is none of ours."""
        try:
            values = torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError):
            values = None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError(f"{path}: expected a file of `python -m benchmarks.gpu.check --prepare`, format {FORMAT}")
        return Prepared(values["entries"])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, "torch": str(torch.__version__), "entries": self.entries}, path)

    def add(self, cases: Iterable[GpuCase]) -> None:
        """Computes what the cases expect, once for all that share it."""
        for case in cases:
            if case.expectation and _key(case) not in self.entries:
                inputs = case.build()
                results = _tensors(case.call(case.expected, inputs))
                self.entries[_key(case)] = {
                    "inputs": [checksum(t) for t in inputs],
                    "shapes": [list(t.shape) for t in results],
                    "sketches": [sketch(t) for t in results],
                }

    def agrees(self, case: GpuCase, inputs: Sequence[Any], got: Any) -> bool:
        """Whether it is known what the case gives for these inputs, and `got` is that; both within its tolerance."""
        entry = self.entries.get(_key(case)) if case.expectation else None
        if entry is None or entry["inputs"] != [checksum(t) for t in inputs]:
            return False
        results = _tensors(got)
        if entry["shapes"] != [list(t.shape) for t in results]:
            return False
        tolerance = case.tolerance or TOLERANCES[case.dtype]
        for result, known in zip(results, entry["sketches"], strict=True):
            error = float((sketch(result) - known).norm() / known.norm().clamp(min=1e-30))
            if not error <= tolerance:
                return False
        return True


def _key(case: GpuCase) -> str:
    return f"{case.op}, {case.direction}: {case.expectation}"


def _tensors(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, (tuple, list)) else [result]
