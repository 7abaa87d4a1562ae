"""Inputs and tolerances that the op tests share."""

from __future__ import annotations

import torch
from torch import Tensor

# Against the reference in the same dtype. Both compute in float32 or float64 and round once:
# - float32: a few roundings in another order, and exp within 2 ulp (the kernels have an exp of their own);
# - float64: likewise, exp and log from the C library;
# - float16, bfloat16: the float32 results may fall on two sides of a rounding boundary, one unit in the last place.
TOLERANCES = {
    torch.float32: {"rtol": 2e-6, "atol": 2e-6},
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float16: {"rtol": 1e-3, "atol": 1e-6},
    torch.bfloat16: {"rtol": 8e-3, "atol": 1e-6},
}


def random_boxes(*shape: int, rng: torch.Generator, size: float = 0.3) -> Tensor:
    """(*shape, 4) boxes with centers in the unit square and sides up to `size`."""
    center = torch.rand(*shape, 2, generator=rng)
    half = torch.rand(*shape, 2, generator=rng) * size / 2
    return torch.cat([center - half, center + half], dim=-1)


def clustered_boxes(count: int, clusters: int, *, rng: torch.Generator, spread: float = 0.05) -> Tensor:
    """(count, 4) boxes crowded around `clusters` objects, as a detector gives them."""
    objects = random_boxes(clusters, rng=rng)
    which = torch.randint(clusters, (count,), generator=rng)
    boxes = objects[which] + torch.randn(count, 4, generator=rng) * spread * 0.3
    return torch.cat([torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], dim=1)


def far_boxes(dtype: torch.dtype) -> torch.Tensor:
    """Boxes with coordinates up to the largest number of the dtype, on both sides of zero; some are inverted."""
    sides = torch.tensor([-1.0, -0.6, 0.0, 0.55, 0.75, 1.0], dtype=torch.float64) * torch.finfo(dtype).max
    low, high = torch.cartesian_prod(sides, sides).T
    return torch.stack([low, low, high, high], dim=1).to(dtype)
