"""Negative anchor filtering: which anchors the first stage leaves to the second."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _library
from ..checks import check_floating, check_range, check_shape
from ..defaults import THETA
from ..results import KeptAnchors

_filter_anchors = _library.op("filter_anchors")
_filter_anchors_mask = _library.op("filter_anchors_mask")


def filter_anchors(arm_logits: Tensor, theta: float = THETA) -> KeptAnchors:
    """The anchors of each image that the first stage does not take for background with more confidence than theta.

    Kept is an anchor with ``softmax(arm_logits)[..., 0] <= theta``. The test is made on the logits, as ``logits[1] -
    logits[0] >= log((1 - theta) / theta)``, without the rounding of a softmax; a difference that is NaN is not kept.

    Args:
        arm_logits: (B, A, 2) float, background then object.
        theta: in [0, 1]; 1 keeps every anchor whose logits are numbers.

    Returns:
        KeptAnchors: index (B, A) int64, the kept anchors in ascending order, then -1; count (B,) int64. The shapes do
        not depend on the data. Not differentiable.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for a shape or theta that does not fit.

    Source:
        RefineDet (Zhang et al. 2018), "Negative Anchor Filtering" (theta = 0.99).

    Example:
        >>> filter_anchors(torch.tensor([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]]))
        KeptAnchors(index=tensor([[ 0,  2, -1]]), count=tensor([2]))
    """
    theta = check_range(theta, "theta", 0.0, 1.0)
    try:
        return KeptAnchors._make(_filter_anchors(arm_logits, theta))
    except (RuntimeError, TypeError) as error:
        _check(arm_logits)
        _library.drop_location(error)
        raise


def filter_anchors_mask(arm_logits: Tensor, theta: float = THETA) -> Tensor:
    """As `filter_anchors`, as a mask.

    Args:
        arm_logits, theta: as in `filter_anchors`.

    Returns:
        (B, A) bool, true where the anchor is kept. Not differentiable.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for a shape or theta that does not fit.

    Example:
        >>> filter_anchors_mask(torch.tensor([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]]))
        tensor([[ True, False,  True]])
    """
    theta = check_range(theta, "theta", 0.0, 1.0)
    try:
        return _filter_anchors_mask(arm_logits, theta)
    except (RuntimeError, TypeError) as error:
        _check(arm_logits)
        _library.drop_location(error)
        raise


def _check(arm_logits: Tensor) -> None:
    check_floating(arm_logits, "arm_logits")
    check_shape(arm_logits, "arm_logits", ("B", "A", 2))


@_library.register_fake("filter_anchors")
def _fake(arm_logits: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    _check(arm_logits)
    check_range(theta, "theta", 0.0, 1.0)
    index = arm_logits.new_empty(arm_logits.shape[:2], dtype=torch.int64)
    return index, arm_logits.new_empty(arm_logits.shape[:1], dtype=torch.int64)


@_library.register_fake("filter_anchors_mask")
def _fake_mask(arm_logits: Tensor, theta: float) -> Tensor:
    _check(arm_logits)
    check_range(theta, "theta", 0.0, 1.0)
    return arm_logits.new_empty(arm_logits.shape[:2], dtype=torch.bool)


_library.register_not_differentiable("filter_anchors")
_library.register_not_differentiable("filter_anchors_mask")
_library.register_vmap("filter_anchors", images={0: 3})
_library.register_vmap("filter_anchors_mask", images={0: 3})
