"""Timing on a GPU: by events, with a cold L2, the median of many, small launches replayed from a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

FLUSH_BYTES = 256 << 20  # several times the L2 of any GPU so far


@dataclass(frozen=True)
class Time:
    """Microseconds: the median and the interquartile range."""

    median: float
    spread: float


class Timer:
    """Measures calls on the current device.

    samples: how many a median is of. budget: seconds after which it ends with fewer (at least 5).
    """

    def __init__(self, samples: int = 30, budget: float = 0.5) -> None:
        self.samples, self.budget = samples, budget
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")

    def call(self, run: Callable[[], Any]) -> Time:
        """As a program calls it: the time from the start of its first kernel to the end of the last, with every gap in
        which the GPU waits for the host."""
        for _ in range(3):
            run()
        return self._measure(run)

    def graph(self, run: Callable[[], Any]) -> Time:
        """The same captured once and replayed: without the host."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return self._measure(graph.replay)

    def _measure(self, run: Callable[[], Any]) -> Time:
        times: list[float] = []
        total = 0.0
        while len(times) < self.samples and (total < self.budget * 1e6 or len(times) < 5):
            self._flush.zero_()
            # the host gets ahead, so that a call's launches are not measured as gaps behind the flush
            torch.cuda._sleep(200_000)
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) * 1e3)
            total += times[-1]
        values = torch.tensor(times, dtype=torch.float64)
        quartiles = values.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
        return Time(quartiles[1], quartiles[2] - quartiles[0])
