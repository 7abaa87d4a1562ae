"""Hard negative mining."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .. import _library
from ..checks import check_count, check_dtype, check_floating, check_range, check_same_device, check_shape

_op = _library.op("mine_hard_negatives")


def mine_hard_negatives(
    loss: Tensor,
    labels: Tensor,
    *,
    ratio: float = 3.0,
    min_negatives: int = 0,
    eligible: Tensor | None = None,
) -> Tensor:
    """The background anchors with the largest loss, a fixed number of them per positive of the same image.

    Per image the quota is max(floor(ratio * positives), min_negatives); an image with fewer candidates gives them all,
    one without positives gives min_negatives.

    loss: (B, A) float, what the candidates are ranked by; of equal losses the lower index goes first, NaN counts as
        the largest.
    labels: (B, A) int64; above 0 is a positive, 0 a candidate, below 0 neither.
    ratio: negatives per positive, finite, at least 0.
    min_negatives: the quota of an image with few positives.
    eligible: (B, A) bool, which candidates may be chosen, for instance `filter_anchors_mask`; None: all.

    Returns (B, A) bool, True where a negative was chosen; never True for a positive. Not differentiable. A GPU makes
    the same choice as the CPU, without the host waiting for it.

    Raises TypeError for a dtype and ValueError for a shape, device or number that does not fit.

    Source: SSD (Liu et al. 2016), "Hard negative mining"; RefineDet (Zhang et al. 2018), which mines the ARM and the
    ODM alike.

    >>> loss = torch.tensor([[0.1, 5.0, 0.3, 0.2, 0.4]])
    >>> mine_hard_negatives(loss, torch.tensor([[0, 1, 0, -1, 0]]), ratio=2.0)
    tensor([[False, False,  True, False,  True]])
    """
    if type(ratio) is float and type(min_negatives) is int and not is_compiling():
        try:
            return _op(loss, labels, eligible, ratio, min_negatives)
        except Exception:  # what is wrong is said below
            pass
    return _op(loss, labels, eligible, *_checked(loss, labels, eligible, ratio, min_negatives))


def _checked(
    loss: Tensor, labels: Tensor, eligible: Tensor | None, ratio: Any, min_negatives: Any
) -> tuple[float, int]:
    """The numbers as the op takes them, if all is well."""
    check_floating(loss, "loss")
    sizes: dict[str, int] = {}
    check_shape(loss, "loss", ("B", "A"), sizes)
    check_shape(labels, "labels", ("B", "A"), sizes)
    check_dtype(labels, "labels", "int64")
    if eligible is not None:
        check_shape(eligible, "eligible", ("B", "A"), sizes)
        check_dtype(eligible, "eligible", "bool")
    check_same_device(loss=loss, labels=labels, eligible=eligible)
    ratio = check_range(ratio, "ratio", 0)
    if math.isinf(ratio):
        raise ValueError("ratio: expected a finite number, got inf")
    return ratio, check_count(min_negatives, "min_negatives")


@_library.register_fake("mine_hard_negatives")
def _fake(loss: Tensor, labels: Tensor, eligible: Tensor | None, ratio: float, min_negatives: int) -> Tensor:
    _checked(loss, labels, eligible, ratio, min_negatives)
    return torch.empty_like(loss, dtype=torch.bool, memory_format=torch.contiguous_format)


_library.register_not_differentiable("mine_hard_negatives")
_library.register_autocast("mine_hard_negatives", "float32")
