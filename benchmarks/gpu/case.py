"""A case of the GPU: the shared description, what of it a CUDA graph can replay, and whether TF32 is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..case import Case, Peer

# what a target may be about besides the floor and the peers: at most so many
MICROSECONDS = "microseconds"
MEGABYTES = "megabytes"


@dataclass(frozen=True)
class GpuPeer(Peer):
    """capturable: whether a CUDA graph can replay it."""

    capturable: bool = True


@dataclass(frozen=True)
class GpuCase(Case):
    """`inputs` gives CUDA tensors, `expected` computes on the CPU (`case.on_cpu`).

    capturable: whether ours can be replayed from a CUDA graph.
    tf32: measured with TF32 as torch ships it (in cuDNN's convolutions, not in matrix products) instead of without.
    expectation: names the expected result, which other cases may share (of the same values in another layout); it can
        be prepared before (`prepared.py`). "" where computing it costs next to nothing.
    targets: `over` may also be MICROSECONDS or MEGABYTES (of memory that a call takes), which `ratio` limits.
    """

    capturable: bool = True
    tf32: bool = False
    expectation: str = ""

    @property
    def id(self) -> str:
        return f"{self.op}, {self.direction}: {self.name}"

    @property
    def products_dtype(self) -> str:
        """As what the matrix products are computed."""
        return "tf32" if self.tf32 else self.dtype

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, self.tf32
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
