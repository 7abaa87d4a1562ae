"""Which samples a process sees in an epoch, and in what order."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch.distributed as dist
from torch.utils.data import DistributedSampler

from .seeding import shuffle_rng

Remainder = Literal["pad", "drop", "uneven"]


class SampleKey(NamedTuple):
    """What a sampler asks a data set for: a sample, as augmented in an epoch."""

    epoch: int
    item: int


class EpochSampler(DistributedSampler[SampleKey]):
    """The samples of one process in an order that seed and epoch decide.

    The epoch travels with every index, so that loader workers that outlive an epoch still know it.
    A DistributedSampler by type, so that Lightning leaves it in place and calls set_epoch.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        shuffle: bool,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        remainder: Remainder = "pad",
    ) -> None:
        """rank, world_size: None asks torch.distributed, and is one process where there is none.

        remainder: what happens where the samples do not divide by the processes. "pad" repeats
        samples from the front, so that all processes have as many; "drop" leaves the last ones of
        the epoch's order out; "uneven" gives each sample once, so that processes differ by one.
        """
        running = dist.is_available() and dist.is_initialized()
        if world_size is None:
            world_size = dist.get_world_size() if running else 1
        if rank is None:
            rank = dist.get_rank() if running else 0
        if not 0 <= rank < world_size:
            raise ValueError(f"rank: expected 0 to {world_size - 1}, got {rank}")
        if remainder not in ("pad", "drop", "uneven"):
            raise ValueError(f"remainder: expected 'pad', 'drop' or 'uneven', got {remainder!r}")
        if seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {seed}")
        super().__init__(
            cast(Any, dataset),
            num_replicas=world_size,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
            drop_last=remainder == "drop",
        )
        self.remainder = remainder
        self.skip = 0

    def indices(self) -> np.ndarray:
        """(len(self),) int64: this process's samples in the current epoch."""
        total = len(cast(Sized, self.dataset))
        order = np.arange(total)
        if self.shuffle:
            order = shuffle_rng(self.seed, self.epoch).permutation(total)
        if self.remainder == "drop":
            order = order[: total - total % self.num_replicas]
        elif self.remainder == "pad" and total:
            order = np.resize(order, -(-total // self.num_replicas) * self.num_replicas)
        return order[self.rank :: self.num_replicas]

    def skip_once(self, samples: int) -> None:
        """Leave out the first samples of this process when the epoch is next gone through: a run that was interrupted
        has seen them."""
        self.skip = samples

    def __iter__(self) -> Iterator[SampleKey]:
        epoch, skip = self.epoch, self.skip
        self.skip = 0
        return iter([SampleKey(epoch, item) for item in self.indices().tolist()[skip:]])

    def __len__(self) -> int:
        return len(range(self.rank, self._total(), self.num_replicas))

    def _total(self) -> int:
        total, processes = len(cast(Sized, self.dataset)), self.num_replicas
        if self.remainder == "drop":
            return total - total % processes
        return -(-total // processes) * processes if self.remainder == "pad" else total
