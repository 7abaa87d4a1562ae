"""The gradients of a depthwise convolution on a CPU, where torch's own take up to fifty times the forward's time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import _autograd, _library

Cells = tuple[int, int, int, int]  # left, right, top, bottom

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

_backward = _library.op("_depthwise_conv2d_backward")


def serves(input: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether a call with these tensors is recorded for our backward; where it is not, torch's own serves.

    That is for plain channels-last tensors on the CPU, of which one requires a gradient. What captures graphs
    (torch.compile, torch.export, tracing, the transforms of torch.func, forward mode) sees torch's own convolution.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not torch.is_grad_enabled():
        return False
    tensors = [input, weight] if bias is None else [input, weight, bias]
    return (
        _library.available()
        and any(t.requires_grad for t in tensors)
        and all(type(t) in (Tensor, torch.nn.Parameter) and t.is_cpu and t.dtype in DTYPES for t in tensors)
        and (_library.autocasting(input.device) or all(t.dtype == input.dtype for t in tensors))
        and input.dim() == 4
        and input.is_contiguous(memory_format=torch.channels_last)
        and not _autograd.transformed()
    )


def depthwise_conv2d(input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, cells: Cells) -> Tensor:
    """A depthwise convolution of what `serves` said yes to, whose gradients come from our kernel.

    Args:
        input: (B, C, H, W).
        weight: (C, 1, k, k).
        bias: (C,) or None.
        stride: one integer for both directions.
        cells: (left, right, top, bottom), zeros around the input.

    Returns:
        (B, C, Ho, Wo), torch's own result; under autocast computed and differentiated in its dtype. A second derivative
        is torch's own as well.
    """
    if not _library.autocasting(input.device):
        return _Recorded.apply(input, weight, bias, stride, cells)
    dtype = torch.get_autocast_dtype(input.device.type)
    tensors = [_library.cast_floating(t, dtype) for t in (input, weight, bias)]
    with torch.autocast(input.device.type, enabled=False):
        return _Recorded.apply(*tensors, stride, cells)


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, cells: Cells) -> Tensor:
    """The same by torch alone."""
    left, right, top, bottom = cells
    if (left, top) != (right, bottom):
        input, top, left = F.pad(input, cells), 0, 0
    return F.conv2d(input, weight, bias, stride, (top, left), groups=weight.shape[0])


class _Recorded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, stride: int, cells: Cells) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.cells = stride, cells
        return convolve(input, weight, bias, stride, cells)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        input, weight = ctx.saved_tensors
        want_input, want_weight, want_bias = ctx.needs_input_grad[:3]
        grad_input = grad_weight = None
        if want_input or want_weight:
            gradients = _differentiable_backward if torch.is_grad_enabled() else _kernel_backward
            grad_input, grad_weight = gradients(grad, input, weight, ctx.stride, ctx.cells, want_input, want_weight)
        grad_bias = grad.sum((0, 2, 3)) if want_bias else None
        return grad_input if want_input else None, grad_weight if want_weight else None, grad_bias, None, None


def _kernel_backward(
    grad: Tensor, input: Tensor, weight: Tensor, stride: int, cells: Cells, want_input: bool, want_weight: bool
) -> tuple[Tensor, Tensor]:
    left, _, top, _ = cells
    return _backward(grad, input, weight, stride, (top, left), want_input, want_weight)


def _differentiable_backward(
    grad: Tensor, input: Tensor, weight: Tensor, stride: int, cells: Cells, want_input: bool, want_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    padded = F.pad(input, cells)
    none, one, mask = [0, 0], [1, 1], [want_input, want_weight, False]
    grad_padded, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad, padded, weight, None, [stride] * 2, none, one, False, none, weight.shape[0], mask
    )
    return F.pad(grad_padded, [-n for n in cells]) if want_input else None, grad_weight


@_library.register_fake("_depthwise_conv2d_backward")
def _fake_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: int,
    padding: list[int],
    want_input: bool,
    want_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(input, memory_format=torch.channels_last) if want_input else input.new_empty(0),
        torch.empty_like(weight, memory_format=torch.contiguous_format) if want_weight else input.new_empty(0),
    )


_library.register_no_second_derivative("_depthwise_conv2d_backward")
_library.register_vmap("_depthwise_conv2d_backward")
