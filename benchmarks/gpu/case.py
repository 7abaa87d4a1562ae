"""A case of the GPU: the shared description, and what of it a CUDA graph can replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..case import Case


@dataclass(frozen=True)
class GpuCase(Case):
    """`inputs` gives CUDA tensors, `expected` computes on the CPU (`case.on_cpu`).

    capturable: whether ours can be replayed from a CUDA graph; peers_capturable: whether they can.
    """

    capturable: bool = True
    peers_capturable: bool = True


def to(device: str, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(t.to(device) for t in tensors)
