"""How many processes train together, and the images of a step that each of them takes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from .config import TrainConfig


@dataclass(frozen=True)
class Processes:
    """per_node: processes of each machine."""

    nodes: int
    per_node: int

    @property
    def total(self) -> int:
        return self.nodes * self.per_node


def find_processes(settings: TrainConfig) -> Processes:
    """The processes of a run: those that torchrun started, or else those that train.devices asks for.

    ValueError where the two contradict each other.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:  # of torchrun, or of Lightning, which starts the processes of one machine and gives no local size
        local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
        if settings.devices not in ("auto", local):
            raise ValueError(
                f"train.devices: expected auto or {local}, the processes that were started on this machine, "
                f"got {settings.devices}"
            )
        return Processes(world // local, local)
    if settings.devices != "auto":
        return Processes(1, settings.devices)
    gpus = torch.cuda.device_count() if settings.accelerator != "cpu" and torch.cuda.is_available() else 0
    return Processes(1, max(1, gpus))


def share_of_batch(batch_size: int, processes: int) -> int:
    """The images of a batch that each process takes; ValueError, which names sizes that fit, where there is a rest."""
    share, rest = divmod(batch_size, processes)
    if rest:
        fitting = " or ".join(str(size * processes) for size in (share, share + 1) if size)
        raise ValueError(
            f"data.batch_size: expected a multiple of {processes}, as it is the batch of all {processes} processes "
            f"together, such as {fitting}, got {batch_size}"
        )
    return share
