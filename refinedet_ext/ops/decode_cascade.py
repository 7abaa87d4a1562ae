"""Both stages' deltas to boxes in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_dtype, check_floating, check_kept, check_same_device, check_shape, check_variances
from ..defaults import VARIANCES
from ..results import KeptAnchors
from ._boxes import are_default, one_dtype, promoted, sum_repeats

_op = _library.op("decode_cascade")
_backward = _library.op("_decode_cascade_backward")


def decode_cascade(
    arm_deltas: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    kept: KeptAnchors | None = None,
) -> Tensor:
    """Boxes of the second stage: `decode_boxes(odm_deltas, decode_boxes(arm_deltas, anchors))` in one pass.

    Args:
        arm_deltas: (B, A, 4) float, what moves the anchors (the anchor refinement module's output).
        odm_deltas: (B, A, 4) float, what moves the refined anchors (the object detection module's output).
        anchors: (A, 4) shared by the images, or (B, A, 4) per image; float, (x1, y1, x2, y2) in any one unit.
        variances: what both stages' deltas were divided by.
        kept: what `filter_anchors` returned; only these anchors are decoded. None decodes all.

    Returns:
        (B, A, 4) of the promoted dtype; the rows that `kept` leaves out are 0. For float16 and bfloat16 the refined box
        is not rounded between the steps. Each step is bounded as in `decode_boxes`, and nothing is clipped to the
        image. Differentiable in both deltas and the anchors; rows left out get no gradient. To train as the original
        code does, where no gradient of the second stage enters the first, detach arm_deltas.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices or variances that do not fit.
        RuntimeError: for a `kept` that names rows which do not exist.

    Source:
        RefineDet (Zhang et al. 2018), "Two-Step Cascaded Regression".

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> arm = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
        >>> odm = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
        >>> decode_cascade(arm, odm, anchors)
        tensor([[[ 2.,  1., 12., 11.]]])
    """
    if kept is not None:
        check_kept(kept)
    index, count = (None, None) if kept is None else kept
    tensors: tuple[Tensor, ...] = (arm_deltas, odm_deltas, anchors)
    if not one_dtype(*tensors):
        _check(arm_deltas, odm_deltas, anchors, index, count)
        tensors = promoted(*tensors)
    settings: tuple[Any, ...] = ()  # what is not given costs a call nothing
    if kept is not None or not are_default(variances):
        settings = index, count, check_variances(variances)
    try:
        return _op(*tensors, *settings)
    except (RuntimeError, TypeError) as error:
        _check(arm_deltas, odm_deltas, anchors, index, count)
        _library.drop_location(error)
        raise


def _check(arm_deltas: Tensor, odm_deltas: Tensor, anchors: Tensor, index: Tensor | None, count: Tensor | None) -> None:
    sizes: dict[str, int] = {}
    for name, tensor in (("arm_deltas", arm_deltas), ("odm_deltas", odm_deltas)):
        check_floating(tensor, name)
        check_shape(tensor, name, ("B", "A", 4), sizes)
    check_floating(anchors, "anchors")
    check_shape(anchors, "anchors", ("B", "A", 4) if anchors.dim() == 3 else ("A", 4), sizes)
    check_same_device(
        **{"arm_deltas": arm_deltas, "odm_deltas": odm_deltas, "anchors": anchors, "kept.index": index},
        **{"kept.count": count},
    )
    if index is not None:
        check_dtype(index, "kept.index", "int64")
        check_dtype(count, "kept.count", "int64")
        check_shape(index, "kept.index", ("B", "A"), sizes)
        check_shape(count, "kept.count", ("B",), sizes)


@_library.register_fake("decode_cascade")
def _fake(
    arm_deltas: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    kept_index: Tensor | None = None,
    kept_count: Tensor | None = None,
    variances: Sequence[float] = VARIANCES,
) -> Tensor:
    _check(arm_deltas, odm_deltas, anchors, kept_index, kept_count)
    check_variances(variances)
    return torch.empty_like(arm_deltas, memory_format=torch.contiguous_format)


@_library.register_fake("_decode_cascade_backward")
def _fake_backward(
    grad: Tensor,
    arm_deltas: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    kept_index: Tensor | None,
    kept_count: Tensor | None,
    variances: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    like = torch.empty_like(arm_deltas, memory_format=torch.contiguous_format)
    return like, torch.empty_like(like), torch.empty_like(like)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.variances = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    arm_deltas, odm_deltas, anchors, index, count = ctx.saved_tensors
    grad_arm, grad_odm, grad_anchors = _backward(grad, arm_deltas, odm_deltas, anchors, index, count, ctx.variances)
    return grad_arm, grad_odm, sum_repeats(grad_anchors, anchors.shape), None, None, None


_library.register_no_second_derivative("_decode_cascade_backward")
_library.register_autograd("decode_cascade", _autograd, setup_context=_setup_context)
_library.register_autocast("decode_cascade", "float32")
_library.register_vmap("decode_cascade", images={0: 3, 1: 3, 2: 3, 3: 2, 4: 1})
_library.register_vmap("_decode_cascade_backward", images={0: 3, 1: 3, 2: 3, 3: 3, 4: 2, 5: 1})
