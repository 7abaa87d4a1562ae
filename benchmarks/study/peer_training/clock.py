"""The time that a contestant is given, and what it has learnt on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Snapshot:
    """seconds: processor time of training until then; wall_seconds: by the clock on the wall. steps: batches. weights:
    whatever the contestant evaluates by."""

    seconds: float
    wall_seconds: float
    steps: int
    images: int
    weights: Any


class TrainingClock:
    """Counts the processor time of this process, and takes snapshots of the weights while it stands still.

    On one thread and a core of its own that is the time on the wall, and with others on the machine it is still the
    same work. Start-up, copies of weights and evaluation do not count.

    Args:
        limit: seconds of training.
        points: rising shares of the limit at which a snapshot is taken, the last of them 1.
        now: what tells the processor time; tests have another.
    """

    def __init__(self, limit: float, points: Sequence[float], now: Callable[[], float] = time.process_time) -> None:
        if not limit > 0:
            raise ValueError(f"limit: expected a positive number of seconds, got {limit}")
        if not points or list(points) != sorted(set(points)) or points[0] <= 0 or points[-1] != 1:
            raise ValueError(f"points: expected rising shares up to 1, got {list(points)}")
        self.limit = limit
        self.snapshots: list[Snapshot] = []
        self.steps = self.images = 0
        self._points = list(points)
        self._now = now
        self._began = now()
        self._wall_began = time.monotonic()

    def start(self) -> None:
        """Counts from here on."""
        self._began, self._wall_began = self._now(), time.monotonic()

    @property
    def seconds(self) -> float:
        return self._now() - self._began

    @property
    def share(self) -> float:
        """How much of the time is over, 0 to 1: how far a schedule of the learning rate is to be."""
        return min(1.0, self.seconds / self.limit)

    def after_step(self, images: int, weights: Callable[[], Any]) -> bool:
        """Notes a step on so many images, and whether it was the last one. weights: makes the copy that is kept."""
        self.steps += 1
        self.images += images
        reached = [point for point in self._points if point <= self.share]
        if reached:  # a long step may pass several
            self._points = self._points[len(reached) :]
            self._keep(weights)
        return not self._points

    def finish(self, weights: Callable[[], Any]) -> None:
        """Takes the last snapshot of a training that ended by itself."""
        if self._points:
            self._points = []
            self._keep(weights)

    def _keep(self, weights: Callable[[], Any]) -> None:
        seconds, wall_seconds = self.seconds, time.monotonic() - self._wall_began
        self.snapshots.append(Snapshot(seconds, wall_seconds, self.steps, self.images, weights()))
        self._began = self._now() - seconds
        self._wall_began = time.monotonic() - wall_seconds
