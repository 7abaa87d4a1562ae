"""What the box ops share in Python: common dtypes, rows that repeat, and what vmap does with rows."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from .. import _vmap
from ..checks import check_floating, check_same_device, check_shape
from ..defaults import VARIANCES


def are_default(variances: Any) -> bool:
    return type(variances) is tuple and variances == VARIANCES


def one_dtype(first: Tensor, *others: Tensor) -> bool:
    """Whether there is nothing to promote, because all are tensors of one dtype."""
    if not isinstance(first, Tensor):
        return False
    dtype = first.dtype
    for other in others:  # noqa: SIM110 (a generator takes a microsecond, half of an op's call)
        if not isinstance(other, Tensor) or other.dtype is not dtype:
            return False
    return True


def promoted(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the dtype that torch's promotion gives them."""
    dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
    return tuple(tensor.to(dtype) for tensor in tensors)


def aligned(name_a: str, a: Tensor, name_b: str, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two (..., 4) tensors brought to one dtype; `a` to the broadcast shape, `b` to rows that repeat over those of `a`.

    Anchors (A, 4) beside deltas (B, A, 4) stay as they are: the kernels repeat them without a copy.
    """
    if one_dtype(a, b) and _repeats(a, b):
        return a, b
    _check(name_a, a, name_b, b)
    a, b = promoted(a, b)
    if _repeats(a, b):
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
    if not _repeats(a, b):
        raise ValueError(
            f"{name_b}: expected rows that repeat over those of {name_a} {tuple(a.shape)}, got {tuple(b.shape)}"
        )


def _repeats(a: Tensor, b: Tensor) -> bool:
    """Whether the shape of `b` is the end of that of `a`. A batch in front is not looked at: it may be dynamic."""
    skipped = a.dim() - b.dim()
    return skipped >= 0 and a.shape[skipped:] == b.shape


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


def make_rows_rule(op: Any, anchors: int) -> _vmap.Rule:
    """vmap for ops of rows (..., 4) and, at position `anchors`, the anchors that repeat over them."""

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        rows = [_vmap.in_front(args[i], in_dims[i], info.batch_size) for i in range(anchors)]
        repeated, dim = args[anchors], in_dims[anchors]
        if dim is not None:  # anchors that differ from call to call do not repeat over the calls
            repeated = repeated.movedim(dim, 0)
            missing = rows[0].dim() - repeated.dim()
            repeated = repeated.reshape(repeated.shape[0], *[1] * missing, *repeated.shape[1:]).expand(rows[0].shape)
        result = op(*rows, repeated, *args[anchors + 1 :])
        return result, (0,) * len(result) if isinstance(result, tuple) else 0

    return rule
