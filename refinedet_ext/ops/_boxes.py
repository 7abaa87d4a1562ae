"""What the box ops share in Python: the default variances, common dtypes and rows that repeat."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_floating, check_same_device, check_shape

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def aligned(name_a: str, a: Tensor, name_b: str, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two (..., 4) tensors brought to one dtype; `a` to the broadcast shape, `b` to rows that repeat over those of `a`.

    Anchors (A, 4) beside deltas (B, A, 4) stay as they are: the kernels repeat them without a copy.
    """
    _check(name_a, a, name_b, b)
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(dtype), b.to(dtype)
    if b.dim() <= a.dim() and a.shape[a.dim() - b.dim() :] == b.shape:  # no guard on a dynamic batch
        return a, b
    try:
        shape = torch.broadcast_shapes(a.shape, b.shape)
    except RuntimeError:
        raise ValueError(
            f"{name_b}: expected a shape that broadcasts with {name_a} {tuple(a.shape)}, got {tuple(b.shape)}"
        ) from None
    while b.dim() > 1 and b.shape[0] == 1:
        b = b[0]
    if b.shape != shape[len(shape) - b.dim() :]:
        b = b.expand(shape)
    return a.expand(shape), b


def check_aligned(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    """Raises unless the tensors are as `aligned` leaves them."""
    _check(name_a, a, name_b, b)
    if a.dtype != b.dtype:
        raise TypeError(f"{name_b}: expected dtype {a.dtype} as {name_a} has, got {b.dtype}")
    if b.dim() > a.dim() or a.shape[a.dim() - b.dim() :] != b.shape:
        raise ValueError(
            f"{name_b}: expected rows that repeat over those of {name_a} {tuple(a.shape)}, got {tuple(b.shape)}"
        )


def _check(name_a: str, a: Tensor, name_b: str, b: Tensor) -> None:
    for name, tensor in ((name_a, a), (name_b, b)):
        check_floating(tensor, name)
        check_shape(tensor, name, ("...", 4))
    check_same_device(**{name_a: a, name_b: b})


def sum_repeats(grad: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of rows that were repeated: (count, 4) in all summed to `shape`."""
    if grad.shape == shape:
        return grad
    return grad.reshape(-1, *shape).sum(0)
