"""Hard negative mining."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _library
from ..checks import check_count, check_dtype, check_finite, check_floating, check_same_device, check_shape
from ..defaults import MIN_NEGATIVES, RATIO

_op = _library.op("mine_hard_negatives")


def mine_hard_negatives(
    loss: Tensor,
    labels: Tensor,
    *,
    ratio: float = RATIO,
    min_negatives: int = MIN_NEGATIVES,
    eligible: Tensor | None = None,
) -> Tensor:
    """The background anchors with the largest loss, a fixed number of them per positive of the same image.

    Per image the quota is max(floor(ratio * positives), min_negatives); an image with fewer candidates gives them all,
    one without positives gives min_negatives.

    Args:
        loss: (B, A) float, what the candidates are ranked by; of equal losses the lower index goes first, NaN counts as
            the largest.
        labels: (B, A) int64; above 0 is a positive, 0 a candidate, below 0 neither.
        ratio: negatives per positive, finite, at least 0.
        min_negatives: the quota of an image with few positives.
        eligible: (B, A) bool, which candidates may be chosen, for instance `filter_anchors_mask`; None: all.

    Returns:
        (B, A) bool, True where a negative was chosen; never True for a positive. Not differentiable. A GPU makes the
        same choice as the CPU, without the host waiting for it.

    Raises:
        TypeError: for a dtype that does not fit.
        ValueError: for a shape, device or number that does not fit.

    Source:
        SSD (Liu et al. 2016), "Hard negative mining"; RefineDet (Zhang et al. 2018), which mines the ARM and the ODM
        alike.

    Example:
        >>> loss = torch.tensor([[0.1, 5.0, 0.3, 0.2, 0.4]])
        >>> mine_hard_negatives(loss, torch.tensor([[0, 1, 0, -1, 0]]), ratio=2.0)
        tensor([[False, False,  True, False,  True]])
    """
    ratio, min_negatives = check_finite(ratio, "ratio", 0.0), check_count(min_negatives, "min_negatives")
    try:
        return _op(loss, labels, eligible, ratio, min_negatives)
    except (RuntimeError, TypeError) as error:
        _check(loss, labels, eligible)
        _library.drop_location(error)
        raise


def _check(loss: Tensor, labels: Tensor, eligible: Tensor | None) -> None:
    check_floating(loss, "loss")
    sizes: dict[str, int] = {}
    check_shape(loss, "loss", ("B", "A"), sizes)
    check_shape(labels, "labels", ("B", "A"), sizes)
    check_dtype(labels, "labels", "int64")
    if eligible is not None:
        check_shape(eligible, "eligible", ("B", "A"), sizes)
        check_dtype(eligible, "eligible", "bool")
    check_same_device(loss=loss, labels=labels, eligible=eligible)


@_library.register_fake("mine_hard_negatives")
def _fake(loss: Tensor, labels: Tensor, eligible: Tensor | None, ratio: float, min_negatives: int) -> Tensor:
    _check(loss, labels, eligible)
    check_finite(ratio, "ratio", 0.0)
    check_count(min_negatives, "min_negatives")
    return torch.empty_like(loss, dtype=torch.bool, memory_format=torch.contiguous_format)


_library.register_not_differentiable("mine_hard_negatives")
_library.register_autocast("mine_hard_negatives", "float32")
_library.register_vmap("mine_hard_negatives", images={0: 2, 1: 2, 2: 2})
