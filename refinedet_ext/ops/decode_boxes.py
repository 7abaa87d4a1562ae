"""Deltas to boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_clip_to, check_variances
from ..defaults import VARIANCES
from ._boxes import aligned, are_default, check_aligned, make_rows_rule, sum_repeats

_op = _library.op("decode_boxes")
_backward = _library.op("_decode_boxes_backward")


def decode_boxes(
    deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    clip_to: tuple[float, float] | None = None,
) -> Tensor:
    """Boxes from their center-size deltas against anchors; the inverse of `encode_boxes`.

    With an anchor of center (cx, cy) and size (w, h) the decoded box has the center (cx + v0 dx w, cy + v1 dy h) and
    the size (w exp(v2 dw), h exp(v3 dh)).

    Args:
        deltas: (..., 4) float, (dx, dy, dw, dh).
        anchors: (..., 4) float, (x1, y1, x2, y2) in any unit; the shapes broadcast, so (A, 4) serves (B, A, 4) deltas.
        variances: (v0, v1, v2, v3), what the deltas were divided by.
        clip_to: (width, height) in the anchors' unit to clip the boxes to; None leaves them as they are.

    Returns:
        (..., 4) of the promoted dtype, (x1, y1, x2, y2). float16 and bfloat16 are computed in float32.

        Finite input gives finite boxes: a center moves by at most 1e6 anchor sides, a side changes by a factor of at
        most e^10, and float16 results stop at 65504. Differentiable in deltas and anchors; where a value was clamped or
        clipped its gradient is zero.

    Raises:
        TypeError: for a dtype that is not floating.
        ValueError: for shapes, devices, variances or clip_to that do not fit.

    Source:
        SSD (Liu et al. 2016), eq. 2; variances as in RefineDet (Zhang et al. 2018).

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> decode_boxes(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), anchors)
        tensor([[ 1.,  0., 11., 10.]])
    """
    deltas, anchors = aligned("deltas", deltas, "anchors", anchors)
    settings: tuple[Any, ...] = ()  # what is not given costs a call nothing
    if clip_to is not None or not are_default(variances):
        settings = check_variances(variances), check_clip_to(clip_to)
    try:
        return _op(deltas, anchors, *settings)
    except (RuntimeError, TypeError) as error:
        check_aligned("deltas", deltas, "anchors", anchors)
        _library.drop_location(error)
        raise


@_library.register_fake("decode_boxes")
def _fake(
    deltas: Tensor, anchors: Tensor, variances: Sequence[float] = VARIANCES, clip_to: list[float] | None = None
) -> Tensor:
    check_aligned("deltas", deltas, "anchors", anchors)
    check_variances(variances)
    check_clip_to(clip_to)
    return torch.empty_like(deltas, memory_format=torch.contiguous_format)


@_library.register_fake("_decode_boxes_backward")
def _fake_backward(
    grad: Tensor, deltas: Tensor, anchors: Tensor, variances: list[float], clip_to: list[float] | None
) -> tuple[Tensor, Tensor]:
    like = torch.empty_like(deltas, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    deltas, anchors, ctx.variances, ctx.clip_to = inputs
    ctx.save_for_backward(deltas, anchors)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    deltas, anchors = ctx.saved_tensors
    grad_deltas, grad_anchors = _backward(grad, deltas, anchors, ctx.variances, ctx.clip_to)
    return grad_deltas, sum_repeats(grad_anchors, anchors.shape), None, None


_library.register_no_second_derivative("_decode_boxes_backward")
_library.register_autograd("decode_boxes", _autograd, setup_context=_setup_context)
_library.register_autocast("decode_boxes", "float32")
_library.register_vmap("decode_boxes", make_rows_rule(_op, anchors=1))
_library.register_vmap("_decode_boxes_backward", make_rows_rule(_backward, anchors=2))
