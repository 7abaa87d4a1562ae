"""Negative anchor filtering, on NumPy arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ..checks import check_range, check_shape
from ..defaults import THETA
from ..results import KeptAnchors
from ._arrays import contiguous, floating, op

_filter_anchors = op("filter_anchors")
_filter_anchors_mask = op("filter_anchors_mask")


def filter_anchors(arm_logits: ArrayLike, theta: float = THETA) -> KeptAnchors:
    """As `refinedet_ext.filter_anchors`, on an array.

    Args:
        arm_logits: (B, A, 2), background then object.
        theta: as there.

    Returns:
        KeptAnchors: index (B, A) int64, the kept anchors in ascending order, then -1; count (B,) int64.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for a shape or theta that does not fit.

    Example:
        >>> filter_anchors([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]])
        KeptAnchors(index=array([[ 0,  2, -1]]), count=array([2]))
    """
    return KeptAnchors(*_filter_anchors(_checked(arm_logits), check_range(theta, "theta", 0.0, 1.0)))


def filter_anchors_mask(arm_logits: ArrayLike, theta: float = THETA) -> NDArray[Any]:
    """As `refinedet_ext.filter_anchors_mask`, on an array.

    Args:
        arm_logits, theta: as in `filter_anchors`.

    Returns:
        (B, A) bool, true where the anchor is kept.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for a shape or theta that does not fit.

    Example:
        >>> filter_anchors_mask([[[0.0, 1.0], [5.0, 0.0], [2.0, 0.0]]])
        array([[ True, False,  True]])
    """
    return _filter_anchors_mask(_checked(arm_logits), check_range(theta, "theta", 0.0, 1.0))


def _checked(arm_logits: ArrayLike) -> NDArray[Any]:
    logits = floating(arm_logits, "arm_logits")
    check_shape(logits, "arm_logits", ("B", "A", 2))
    return contiguous(logits, logits.dtype)
