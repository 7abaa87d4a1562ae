"""What `torch.vmap` does with the registered ops: it becomes part of the op's own batch where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Rule = Callable[..., tuple[Any, Any]]  # (info, in_dims, *args) -> (result, the dimension of the vmap in each result)


def make_rule(op: Any, images: Mapping[int, int]) -> Rule:
    """`images`: position of each argument with an image dimension in front, and how many dimensions it has in all.

    One that has fewer is shared by the images. Where a shared argument differs from call to call, and for an op without
    `images`, the calls are made one after the other.
    """

    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        tensors = {i: arg for i, arg in enumerate(args) if isinstance(arg, Tensor)}
        per_image = {i for i, t in tensors.items() if i in images and t.dim() - (in_dims[i] is not None) == images[i]}
        if not images or any(in_dims[i] is not None and i not in per_image for i in tensors):
            return _one_by_one(op, info.batch_size, in_dims, args)
        merged = list(args)
        for i in per_image:
            every = in_front(tensors[i], in_dims[i], info.batch_size)
            merged[i], split = every.flatten(0, 1), every.shape[:2]
        return _each(lambda t: t.unflatten(0, split), op(*merged))

    return rule


def make_refusing_rule(message: str) -> Rule:
    def rule(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Any, Any]:
        raise RuntimeError(message)

    return rule


def in_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The vmapped dimension first; where there is none, one that repeats the tensor."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _one_by_one(op: Any, size: int, in_dims: tuple[Any, ...], args: tuple[Any, ...]) -> tuple[Any, Any]:
    def of_call(i: int) -> list[Any]:
        return [
            arg.select(dim, i) if isinstance(arg, Tensor) and dim is not None else arg
            for arg, dim in zip(args, in_dims, strict=True)
        ]

    if size == 0:
        raise RuntimeError(f"{op}: expected at least one call under vmap, got a dimension of size 0")
    results = [op(*of_call(i)) for i in range(size)]
    if isinstance(results[0], tuple):
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])
    return torch.stack(results), 0


def _each(function: Callable[[Tensor], Tensor], result: Any) -> tuple[Any, Any]:
    if isinstance(result, tuple):
        return tuple(map(function, result)), (0,) * len(result)
    return function(result), 0
