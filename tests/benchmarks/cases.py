"""A small case, right or wrong, and rows that were never measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.case import Case, Peer, Target
from benchmarks.machine import Machine, Rates
from benchmarks.report import Report
from benchmarks.runner import Row
from benchmarks.timing import Time

RATES = {1: Rates({"float32": 100.0, "bfloat16": 200.0}, {0.25: 100.0, 256.0: 10.0})}


def double(x: Tensor) -> Tensor:
    return 2 * x


def case(**changes: Any) -> Case:
    """Twice a tensor: as a sum, beside the product."""
    values: dict[str, Any] = {
        "op": "twice",
        "name": "N=8",
        "ours": lambda x: x + x,
        "inputs": lambda: [torch.arange(8.0)],
        "expected": double,
        "peers": {"product": Peer(double), "absent": None},
        "bytes": 64,
        "threads": (1,),
        "short": True,
    }
    return Case(**{**values, **changes})


def row(ms: float = 1.0, *, spread: float = 0.02, peer: float | None = 4.0, **changes: Any) -> Row:
    def time(median: float) -> Time:
        return Time(median, median * (1 - spread / 2), median * (1 + spread / 2), 50)

    peers = {"product": time(peer)} if peer is not None else {"product": "missing"}
    values: dict[str, Any] = {"op": "twice", "case": "N=8", "dtype": "float32", "direction": "forward", "threads": 1}
    return Row(**{**values, "ours": time(ms), "peers": peers, "floor": 0.5, **changes})


def report(*rows: Row, **machine: Any) -> Report:
    values: dict[str, Any] = {
        "date": "2026-01-02",
        "processor": "A processor",
        "cores": 2,
        "torch": "2.13",
        "python": "3.11",
    }
    values |= {"peers": {"torchvision": "0.1", "mmcv": "missing"}, "build": {"cpu_level": "avx2"}, "rates": dict(RATES)}
    return Report(Machine(**{**values, **machine}), list(rows))


TARGETS = (Target(3.0), Target(1.5, "floor"))
