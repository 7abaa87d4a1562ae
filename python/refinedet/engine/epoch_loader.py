"""Training batches that begin where a run was interrupted, and how long the run waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from ..data.loader import set_epoch
from ..structures import Batch


class EpochLoader:
    """One epoch at a time of a loader of `build_loader`.

    position: tells (epoch, batches of it that are done already). It is asked when the first batch is wanted, not when
    an iterator is made: Lightning makes one before it has restored a run's position.
    waited: seconds that were spent waiting for batches so far.
    """

    def __init__(self, loader: DataLoader[Batch], position: Callable[[], tuple[int, int]]) -> None:
        self.loader = loader
        self.position = position
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        started = time.perf_counter()
        epoch, done = self.position()
        set_epoch(self.loader, epoch, skip_batches=done)
        batches: Iterator[Any] = iter(self.loader)
        while True:
            batch = next(batches, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch
            started = time.perf_counter()
