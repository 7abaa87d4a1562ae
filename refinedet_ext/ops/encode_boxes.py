"""Boxes to deltas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_variances
from ..defaults import VARIANCES
from ._boxes import aligned, are_default, check_aligned, make_rows_rule, sum_repeats

_op = _library.op("encode_boxes")
_backward = _library.op("_encode_boxes_backward")


def encode_boxes(
    boxes: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
) -> Tensor:
    """Center-size deltas of boxes against anchors; the inverse of `decode_boxes`.

    With a box of center (bx, by) and size (bw, bh) and an anchor of center (cx, cy) and size (w, h) the deltas are
    ((bx - cx) / w / v0, (by - cy) / h / v1, log(bw / w) / v2, log(bh / h) / v3).

    Args:
        boxes: (..., 4) float, (x1, y1, x2, y2) in any unit.
        anchors: (..., 4) float in the same unit; the shapes broadcast, so (A, 4) serves (B, A, 4) boxes.
        variances: (v0, v1, v2, v3), what the deltas are divided by.

    Returns:
        (..., 4) of the promoted dtype, (dx, dy, dw, dh). float16 and bfloat16 are computed in float32.

        Boxes and anchors without area are allowed: a side counts as at least 1e-12, a center shift as at most 1e6
        anchor sides, a log size as at most 10, so that finite input gives finite deltas; float16 results stop at 65504.
        Differentiable in boxes and anchors; where a value was clamped its gradient is zero.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for shapes, devices or variances that do not fit.

    Source:
        SSD (Liu et al. 2016), eq. 2; variances as in RefineDet (Zhang et al. 2018).

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> encode_boxes(torch.tensor([[1.0, 0.0, 11.0, 10.0]]), anchors)
        tensor([[1., 0., 0., 0.]])
    """
    boxes, anchors = aligned("boxes", boxes, "anchors", anchors)
    settings = () if are_default(variances) else (check_variances(variances),)
    try:
        return _op(boxes, anchors, *settings)
    except (RuntimeError, TypeError) as error:
        check_aligned("boxes", boxes, "anchors", anchors)
        _library.drop_location(error)
        raise


@_library.register_fake("encode_boxes")
def _fake(boxes: Tensor, anchors: Tensor, variances: Sequence[float] = VARIANCES) -> Tensor:
    check_aligned("boxes", boxes, "anchors", anchors)
    check_variances(variances)
    return torch.empty_like(boxes, memory_format=torch.contiguous_format)


@_library.register_fake("_encode_boxes_backward")
def _fake_backward(grad: Tensor, boxes: Tensor, anchors: Tensor, variances: list[float]) -> tuple[Tensor, Tensor]:
    like = torch.empty_like(boxes, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    boxes, anchors, ctx.variances = inputs
    ctx.save_for_backward(boxes, anchors)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    boxes, anchors = ctx.saved_tensors
    grad_boxes, grad_anchors = _backward(grad, boxes, anchors, ctx.variances)
    return grad_boxes, sum_repeats(grad_anchors, anchors.shape), None


_library.register_no_second_derivative("_encode_boxes_backward")
_library.register_autograd("encode_boxes", _autograd, setup_context=_setup_context)
_library.register_autocast("encode_boxes", "float32")
_library.register_vmap("encode_boxes", make_rows_rule(_op, anchors=1))
_library.register_vmap("_encode_boxes_backward", make_rows_rule(_backward, anchors=2))
