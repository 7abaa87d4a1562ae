"""Negative anchor filtering: which anchors the first stage leaves to the second."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .. import _library
from ..checks import check_floating, check_range, check_shape
from ..results import KeptAnchors

_filter_anchors = _library.op("filter_anchors")
_filter_anchors_mask = _library.op("filter_anchors_mask")


def filter_anchors(arm_logits: Tensor, theta: float = 0.99) -> KeptAnchors:
    """The anchors of each image that the first stage does not take for background with more confidence than theta.

    Kept is an anchor with softmax(arm_logits)[..., 0] <= theta. The test is made on the logits, as
    logits[1] - logits[0] >= log((1 - theta) / theta), without the rounding of a softmax; a difference that is NaN is
    not kept.

    arm_logits: (B, A, 2) float, background then object.
    theta: in [0, 1]; 1 keeps every anchor whose logits are numbers.

    Returns KeptAnchors: index (B, A) int64, the kept anchors in ascending order, then -1; count (B,) int64. The shapes
    do not depend on the data. Not differentiable.

    Raises TypeError for a dtype that is not floating and ValueError for a shape or theta that does not fit.

    Source: RefineDet (Zhang et al. 2018), "Negative Anchor Filtering" (theta = 0.99).

    >>> filter_anchors(torch.tensor([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]]))
    KeptAnchors(index=tensor([[ 0,  2, -1]]), count=tensor([2]))
    """
    if type(theta) is float and not is_compiling():
        try:
            return KeptAnchors._make(_filter_anchors(arm_logits, theta))
        except Exception:  # what is wrong is said below
            pass
    return KeptAnchors(*_filter_anchors(arm_logits, _checked(arm_logits, theta)))


def filter_anchors_mask(arm_logits: Tensor, theta: float = 0.99) -> Tensor:
    """As `filter_anchors`, as a mask: (B, A) bool, true where the anchor is kept.

    >>> filter_anchors_mask(torch.tensor([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]]))
    tensor([[ True, False,  True]])
    """
    if type(theta) is float and not is_compiling():
        try:
            return _filter_anchors_mask(arm_logits, theta)
        except Exception:  # what is wrong is said below
            pass
    return _filter_anchors_mask(arm_logits, _checked(arm_logits, theta))


def _checked(arm_logits: Tensor, theta: Any) -> float:
    """theta as a float, if all is well."""
    check_floating(arm_logits, "arm_logits")
    check_shape(arm_logits, "arm_logits", ("B", "A", 2))
    return check_range(theta, "theta", 0.0, 1.0)


@_library.register_fake("filter_anchors")
def _fake(arm_logits: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    _checked(arm_logits, theta)
    index = arm_logits.new_empty(arm_logits.shape[:2], dtype=torch.int64)
    return index, arm_logits.new_empty(arm_logits.shape[:1], dtype=torch.int64)


@_library.register_fake("filter_anchors_mask")
def _fake_mask(arm_logits: Tensor, theta: float) -> Tensor:
    _checked(arm_logits, theta)
    return arm_logits.new_empty(arm_logits.shape[:2], dtype=torch.bool)


_library.register_not_differentiable("filter_anchors")
_library.register_not_differentiable("filter_anchors_mask")
