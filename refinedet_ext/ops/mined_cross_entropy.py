"""Cross entropy over positives and the hardest negatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_count, check_dtype, check_finite, check_floating, check_same_device, check_shape
from ..defaults import MIN_NEGATIVES, RATIO
from ..results import MinedLoss

_op = _library.op("mined_cross_entropy")
_backward = _library.op("_mined_cross_entropy_backward")


def mined_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    ratio: float = RATIO,
    min_negatives: int = MIN_NEGATIVES,
    eligible: Tensor | None = None,
    targets: Tensor | None = None,
) -> MinedLoss:
    """SSD's classification loss: softmax cross entropy of the positives and of as many hard negatives as they allow.

    The negatives are those that `mine_hard_negatives` takes by this same loss, so that it is ::

        losses = F.cross_entropy(logits.mT, labels.clamp(min=0), reduction="none")
        chosen = (labels > 0) | mine_hard_negatives(losses, labels, ...)
        loss = torch.where(chosen, losses, 0).sum(dim=1)

    but rows that cannot count are never looked at, and only the chosen ones have a gradient to compute: where
    `filter_anchors_mask` leaves a tenth of the anchors eligible, a tenth of the exponentials. The usual loss of a batch
    is ``loss.sum() / positives.sum().clamp(min=1)``.

    Args:
        logits: (B, A, C) float, background at 0.
        labels: (B, A) int64; above 0 is a positive of this class, 0 a candidate for background, below 0 neither.
        ratio, min_negatives, eligible: as in `mine_hard_negatives`.
        targets: (B, A) int64 below C, the classes to measure against; None: the labels. Others are for rules such as
            that of RefineDet.PyTorch, where objects that the first stage dropped are candidates, yet keep their class.
            Below 0 counts as 0.

    Returns:
        MinedLoss: loss (B,), chosen (B, A) bool, positives (B,) int64, negatives (B,) int64. The loss is computed and
        returned in float32, in float64 for float64 logits, whether autocast is on or not; the sum of an image runs in
        double precision in the anchors' order, so that it does not depend on the number of threads. Differentiable in
        the logits, whose gradient is 0 in rows that were not chosen. Logits of -inf are probabilities of 0; a chosen
        row with NaN or +inf gives NaN.

    Raises:
        TypeError: for a dtype that does not fit.
        ValueError: for a shape, device or number that does not fit.
        RuntimeError: for a target of C or more.

    Source:
        SSD (Liu et al. 2016), section 2.2; RefineDet (Zhang et al. 2018), section 3.3.

    Example:
        >>> logits = torch.tensor([[[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 1.0]]])
        >>> mined = mined_cross_entropy(logits, torch.tensor([[1, 0, 0, 0]]), ratio=2.0)
        >>> mined.loss, mined.chosen
        (tensor([11.0065]), tensor([[ True, False,  True,  True]]))
    """
    ratio, min_negatives = check_finite(ratio, "ratio", 0.0), check_count(min_negatives, "min_negatives")
    try:
        return MinedLoss._make(_op(logits, labels, targets, eligible, ratio, min_negatives))
    except (RuntimeError, TypeError) as error:
        _check(logits, labels, targets, eligible)
        _library.drop_location(error)
        raise


def _check(logits: Tensor, labels: Tensor, targets: Tensor | None, eligible: Tensor | None) -> None:
    check_floating(logits, "logits")
    sizes: dict[str, int] = {}
    check_shape(logits, "logits", ("B", "A", "C"), sizes)
    if sizes["C"] == 0:
        raise ValueError(f"logits: expected at least one class, got shape {tuple(logits.shape)}")
    check_shape(labels, "labels", ("B", "A"), sizes)
    check_dtype(labels, "labels", "int64")
    if eligible is not None:
        check_shape(eligible, "eligible", ("B", "A"), sizes)
        check_dtype(eligible, "eligible", "bool")
    if targets is not None:
        check_shape(targets, "targets", ("B", "A"), sizes)
        check_dtype(targets, "targets", "int64")
    check_same_device(logits=logits, labels=labels, eligible=eligible, targets=targets)


def _sums(rows: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], dtype=torch.float64 if rows.dtype == torch.float64 else torch.float32)


@_library.register_fake("mined_cross_entropy")
def _fake(
    logits: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    eligible: Tensor | None,
    ratio: float,
    min_negatives: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(logits, labels, targets, eligible)
    check_finite(ratio, "ratio", 0.0)
    check_count(min_negatives, "min_negatives")
    count = labels.new_empty(labels.shape[0])
    return _sums(logits), labels.new_empty(labels.shape, dtype=torch.bool), count, torch.empty_like(count)


@_library.register_fake("_mined_cross_entropy_backward")
def _fake_backward(grad: Tensor, logits: Tensor, targets: Tensor, chosen: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    logits, labels, targets = inputs[:3]
    _, chosen, positives, negatives = output
    ctx.mark_non_differentiable(chosen, positives, negatives)
    ctx.save_for_backward(logits, labels if targets is None else targets, chosen)


def _autograd(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    return _backward(grad, *ctx.saved_tensors), None, None, None, None, None


_library.register_no_second_derivative("_mined_cross_entropy_backward")
_library.register_autograd("mined_cross_entropy", _autograd, setup_context=_setup_context)
_library.register_vmap("mined_cross_entropy", images={0: 3, 1: 2, 2: 2, 3: 2})
_library.register_vmap("_mined_cross_entropy_backward", images={0: 1, 1: 3, 2: 2, 3: 2})
