"""Smooth L1 distance of deltas from the boxes that they should decode to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_dtype, check_finite, check_floating, check_same_device, check_shape, check_variances
from ..defaults import BETA, VARIANCES
from ._boxes import one_dtype, promoted

_op = _library.op("smooth_l1_box_loss")
_backward = _library.op("_smooth_l1_box_loss_backward")


def smooth_l1_box_loss(
    deltas: Tensor,
    anchors: Tensor,
    gt_boxes: Tensor,
    gt_index: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    beta: float = BETA,
) -> Tensor:
    """SSD's box loss: smooth L1 of the positives' deltas against their encoded ground truths.

    For every image the sum over its anchors with gt_index >= 0, and over the 4 coordinates, of ::

        F.smooth_l1_loss(deltas, encode_boxes(gt_boxes[gt_index], anchors, variances), reduction="none", beta=beta)

    with nothing computed for the other anchors, whose gradient is 0.

    Args:
        deltas: (B, A, 4) float.
        anchors: (A, 4) shared or (B, A, 4) per image, as refined by an earlier stage.
        gt_boxes: (G, 4) of all images, in the anchors' unit.
        gt_index: (B, A) int64, rows of gt_boxes, below 0 for none; `match_anchors` gives it.
        variances: as in `encode_boxes`.
        beta: where the square turns into a line; 0 is the L1 distance.

    Returns:
        (B,) in float32, in float64 where a float argument is float64; other dtypes are computed in float32, whether
        autocast is on or not. The sum of an image runs in double precision in the anchors' order, so that it does not
        depend on the number of threads. Differentiable in the deltas; anchors and ground truths are constants, even
        where they require a gradient. Boxes without area are treated as in `encode_boxes`; NaN gives NaN.

    Raises:
        TypeError: for a dtype that does not fit.
        ValueError: for a shape, device or number that does not fit.
        RuntimeError: for an index of G or more.

    Source:
        Fast R-CNN (Girshick 2015), eq. 2 and 3; SSD (Liu et al. 2016), eq. 2.

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 15.0, 15.0]])
        >>> deltas = torch.zeros(1, 2, 4)
        >>> smooth_l1_box_loss(deltas, anchors, torch.tensor([[1.0, 0.0, 11.0, 10.0]]), torch.tensor([[0, -1]]))
        tensor([0.5000])
    """
    beta = check_finite(beta, "beta", 0.0)
    steps = check_variances(variances)
    tensors: tuple[Tensor, ...] = (deltas, anchors, gt_boxes)
    if not one_dtype(*tensors):
        _check(deltas, anchors, gt_boxes, gt_index)
        tensors = promoted(*tensors)
    if tensors[1].requires_grad or tensors[2].requires_grad:
        tensors = tensors[0], tensors[1].detach(), tensors[2].detach()
    try:
        return _op(*tensors, gt_index, steps, beta)
    except (RuntimeError, TypeError) as error:
        _check(deltas, anchors, gt_boxes, gt_index)
        _library.drop_location(error)
        raise


def _check(deltas: Tensor, anchors: Tensor, gt_boxes: Tensor, gt_index: Tensor) -> None:
    sizes: dict[str, int] = {}
    for name, tensor in (("deltas", deltas), ("anchors", anchors), ("gt_boxes", gt_boxes)):
        check_floating(tensor, name)
    check_shape(deltas, "deltas", ("B", "A", 4), sizes)
    check_shape(anchors, "anchors", ("A", 4) if anchors.dim() == 2 else ("B", "A", 4), sizes)
    check_shape(gt_boxes, "gt_boxes", ("G", 4))
    check_shape(gt_index, "gt_index", ("B", "A"), sizes)
    check_dtype(gt_index, "gt_index", "int64")
    check_same_device(deltas=deltas, anchors=anchors, gt_boxes=gt_boxes, gt_index=gt_index)


@_library.register_fake("smooth_l1_box_loss")
def _fake(
    deltas: Tensor, anchors: Tensor, gt_boxes: Tensor, gt_index: Tensor, variances: list[float], beta: float
) -> Tensor:
    _check(deltas, anchors, gt_boxes, gt_index)
    check_finite(beta, "beta", 0.0)
    check_variances(variances)
    dtype = torch.float64 if deltas.dtype == torch.float64 else torch.float32
    return deltas.new_empty(deltas.shape[0], dtype=dtype)


@_library.register_fake("_smooth_l1_box_loss_backward")
def _fake_backward(grad: Tensor, deltas: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(deltas, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.variances, ctx.beta = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _backward(grad, *ctx.saved_tensors, ctx.variances, ctx.beta), None, None, None, None, None


_library.register_no_second_derivative("_smooth_l1_box_loss_backward")
_library.register_autograd("smooth_l1_box_loss", _autograd, setup_context=_setup_context)
_library.register_vmap("smooth_l1_box_loss", images={0: 3, 1: 3, 3: 2})
_library.register_vmap("_smooth_l1_box_loss_backward", images={0: 1, 1: 3, 2: 3, 4: 2})
