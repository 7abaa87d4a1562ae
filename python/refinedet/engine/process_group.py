"""Several processes that share the work of one command, as torchrun starts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

T = TypeVar("T")

POLL_SECONDS = 0.1
FOR_EVER = timedelta(days=365)
"""How long a process waits for one that is still at work. One that died is no longer connected, which ends the wait."""


class ElsewhereFailed(RuntimeError):
    """The first process could not go on, and has said why."""


class ProcessGroup:
    """This process among those of a command.

    rank: its number, from 0. count: how many there are. store: what counts for all of them; None where it is alone.
    local_rank: its number among those of its machine.
    """

    def __init__(self, rank: int = 0, count: int = 1, local_rank: int = 0, store: dist.Store | None = None) -> None:
        self.rank, self.count, self.local_rank = rank, count, local_rank
        self._store = store
        self._alone: dict[str, int] = {}

    @property
    def is_first(self) -> bool:
        """Whether this is the process that decides, prints and writes for all."""
        return self.rank == 0

    def add(self, name: str, amount: int) -> int:
        """A counter of this name that all share, from 0: what it is after `amount` was added."""
        if self._store is not None:
            return self._store.add(name, amount)
        self._alone[name] = self._alone.get(name, 0) + amount
        return self._alone[name]

    def from_first(self, function: Callable[[], T]) -> T:
        """What `function` returns in the first process, in all of them; its error there, and ElsewhereFailed here."""
        if self.count == 1:
            return function()
        import torch.distributed as dist

        box: list[Any] = [None]
        if self.is_first:
            try:
                box = [(True, function())]
            except BaseException:
                dist.broadcast_object_list([(False, None)])
                raise
        dist.broadcast_object_list(box)
        done, value = box[0]
        if not done:
            raise ElsewhereFailed("the first process failed")
        return value

    def gather(self, value: T) -> list[T]:
        """In the first process the values of all, by rank; in the others none."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.count if self.is_first else None
        dist.gather_object(value, values)
        return values or []

    def claim(self, items: Sequence[T], size: int) -> Generator[Sequence[T], None, None]:
        """Runs of `size` items, each for one process alone: whoever is free takes the next."""
        while (start := self.add("claimed", size) - size) < len(items):
            yield items[start : start + size]

    def share(self, items: Sequence[T], size: int) -> list[T]:
        """The items of this process: every `count`-th run of `size` of them."""
        return [item for index, item in enumerate(items) if index // size % self.count == self.rank]

    def device(self, device: torch.device | str) -> torch.device | str:
        """Where this process runs; of "cuda", where there are several, the GPU of its own.

        ValueError if the machine has fewer GPUs than processes.
        """
        if self.count == 1:
            return device
        import torch

        wanted = torch.device(device)
        if wanted.type != "cuda":
            return wanted
        if wanted.index is not None:
            raise ValueError(
                f"device: expected cuda, of which each of {self.count} processes has its own, got {device}"
            )
        if self.local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"device: expected a GPU for every process, got process {self.local_rank + 1} of this machine "
                f"and {torch.cuda.device_count()} GPUs"
            )
        return torch.device("cuda", self.local_rank)


class SharedBar:
    """One bar over what all processes have done, on the terminal of the first."""

    def __init__(self, processes: ProcessGroup, total: int | None) -> None:
        self._processes = processes
        # disable=None: shown on a terminal alone
        disable = None if processes.is_first else True
        self._bar = tqdm(total=total, unit=" images", file=sys.stderr, disable=disable, dynamic_ncols=True)

    def __enter__(self) -> SharedBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, images: int = 1) -> None:
        """So many more were done here."""
        done = self._processes.add("images", images)
        if self._processes.is_first:
            self._bar.update(done - self._bar.n)

    def finish(self) -> None:
        """This process is through, and waits for the others; in steps, so that signals reach it."""
        finished = self._processes.add("finished", 1)
        while finished < self._processes.count:
            time.sleep(POLL_SECONDS)
            finished = self._processes.add("finished", 0)
            self.update(0)


@contextmanager
def joined() -> Generator[ProcessGroup, None, None]:
    """The processes that torchrun started for this command; one alone without it.

    SystemExit with status 1 where the first process failed, which says why.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ProcessGroup()
        return
    import torch.distributed as dist

    store, rank, _ = next(dist.rendezvous("env://"))
    dist.init_process_group(
        "gloo", store=dist.PrefixStore("group", store), rank=rank, world_size=count, timeout=FOR_EVER
    )
    try:
        yield ProcessGroup(rank, count, int(os.environ.get("LOCAL_RANK", "0")), dist.PrefixStore("refinedet", store))
    except ElsewhereFailed:
        raise SystemExit(1) from None
    finally:
        dist.destroy_process_group()
