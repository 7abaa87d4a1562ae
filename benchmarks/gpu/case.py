"""One thing to time on a GPU, and how its result is checked first."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Op = Callable[..., Any]

# relative error of a whole result, in the norm, by the dtype of the products: float32 sums in another order; operands
# of 11 or 8 bits
TOLERANCES = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 2e-2}


@dataclass
class Case:
    """`ours` and each peer are called with `inputs`; `expected` gives what ours must.

    peers: by name; None stands for one that is not installed. exact: results are the expected bits, else close in the
    norm. bytes, flops: the least that must be moved and computed; `dtype` is that of the products. capturable: whether
    ours can be replayed from a CUDA graph; peers_capturable.
    """

    op: str
    name: str
    ours: Op
    inputs: Sequence[Tensor]
    expected: Callable[[], Any]
    peers: dict[str, Op | None] = field(default_factory=dict)
    exact: bool = True
    bytes: float = 0
    flops: float = 0
    dtype: str = "float32"
    capturable: bool = True
    peers_capturable: bool = True

    def run(self, op: Op) -> Any:
        return op(*self.inputs)

    def check(self) -> None:
        """Raises unless ours is right."""
        got, expected = (x if isinstance(x, (tuple, list)) else (x,) for x in (self.run(self.ours), self.expected()))
        for a, b in zip(got, expected, strict=True):
            if self.exact:
                torch.testing.assert_close(a.cpu(), b.cpu(), rtol=0, atol=0)
                continue
            reference = b.double().cpu()
            error = float((a.double().cpu() - reference).norm() / reference.norm())
            if not error < TOLERANCES[getattr(torch, self.dtype)]:
                raise AssertionError(f"{self.op}, {self.name}: relative error {error:.2e}")


def torchvision_ops() -> Any:
    """`torchvision.ops`, None where it is not installed."""
    try:
        return importlib.import_module("torchvision.ops")
    except ImportError:
        return None


def size_of(*tensors: Tensor) -> int:
    """Bytes."""
    return sum(t.numel() * t.element_size() for t in tensors)


def to(device: str, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(t.to(device) for t in tensors)


def with_gradients(op: Op) -> Op:
    """The op and the gradients of all its inputs that require one."""

    def forward_and_backward(*inputs: Tensor) -> Any:
        out = op(*inputs)
        return torch.autograd.grad(out, [t for t in inputs if t.requires_grad], out.detach())

    return forward_and_backward
