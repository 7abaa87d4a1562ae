"""The transposed convolution of a transfer connection block, with the sum that follows it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_choice, check_floating, check_same_device, check_shape

ACTIVATIONS = ("none", "relu")

_op = _library.op("deconv_sum")
_backward = _library.op("_deconv_sum_backward")


def deconv_sum(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    lateral: Tensor,
    *,
    activation: str = "none",
) -> Tensor:
    """activation(conv_transpose2d(input, weight, bias, stride=2) + lateral), cropped to the size of `lateral`.

    The products are torch's own (`torch.mm`) or on a GPU cuBLAS's, in the inputs' dtype; on a CPU in float32 for
    float16, and for bfloat16 except where the CPU multiplies it (AVX512-BF16). A GPU multiplies float32 as in torch's
    convolutions, in TF32 unless `torch.backends.cudnn.allow_tf32` is False: see `deform_align`. There half types and
    TF32 are one kernel on tensor cores (compute capability 8.0 and up) if Co is a multiple of 4 and, channels-last, Ci
    of 8 (4 in TF32); contiguous, HW must be such a multiple, W even and w = 2W. Bias and lateral are added in float32
    (float64 for float64) and the sum is rounded once, to infinity where it does not fit. NaN stays NaN, and infinities
    follow IEEE arithmetic. Without pixels or images the result is empty and the gradients of weight and bias are zero.
    On a GPU, too, results are the same in every run, and the host is never waited for.

    Args:
        input: (B, Ci, H, W) float, the coarse map.
        weight: (Ci, Co, 2, 2), laid out as `torch.nn.ConvTranspose2d` has it.
        bias: (Co,) or None.
        lateral: (B, Co, h, w), the fine map; h is 2H or 2H - 1, w is 2W or 2W - 1. Where it is one less the last row or
            column of the upsampled map is dropped.
        activation: "none" or "relu".

    Returns:
        (B, Co, h, w) of the inputs' dtype, which is one for all of them except under autocast (there all are cast to
        the lower precision, but float64, which stays: who has one argument in float64 needs all of them so). The result
        is channels-last in memory if `input` or `lateral` is, and contiguous if both are. Channels-last is the faster
        one; a map in the other order, or one with gaps, is first copied. Differentiable in all four tensors, once; at
        the kink of the ReLU the gradient is zero.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices or an activation that do not fit.

    Note:
        A package of AOTInductor takes only the layout of its export: see `deform_align`.

    Source:
        RefineDet (Zhang et al. 2018), "Transfer Connection Block"; the 2x2 kernel as in the released code.

    Example:
        >>> lateral = torch.tensor([[[[0.0, 0.0, -9.0], [0.0, 0.0, 1.0]]]])
        >>> deconv_sum(torch.tensor([[[[1.0, 2.0]]]]), torch.ones(1, 1, 2, 2), None, lateral, activation="relu")
        tensor([[[[1., 1., 0.],
                  [1., 1., 3.]]]])
    """
    relu = check_choice(activation, "activation", ACTIVATIONS) == "relu"
    try:
        return _op(input, weight, bias, lateral, relu)
    except (RuntimeError, TypeError) as error:
        _check(input, weight, bias, lateral)
        _library.drop_location(error)
        raise


def _check(input: Tensor, weight: Tensor, bias: Tensor | None, lateral: Tensor) -> None:
    tensors = {"input": input, "weight": weight, "bias": bias, "lateral": lateral}
    for name, tensor in tensors.items():
        if tensor is not None or name != "bias":
            check_floating(tensor, name)
    sizes: dict[str, int] = {}
    check_shape(input, "input", ("B", "Ci", "H", "W"), sizes)
    check_shape(weight, "weight", ("Ci", "Co", 2, 2), sizes)
    if bias is not None:
        check_shape(bias, "bias", ("Co",), sizes)
    check_shape(lateral, "lateral", ("B", "Co", "h", "w"), sizes)
    for side, fine in (("H", "h"), ("W", "w")):
        coarse = sizes[side]
        if not (sizes[fine] == 2 * coarse or sizes[fine] == 2 * coarse - 1):
            raise ValueError(
                f"lateral: expected {fine} = {2 * coarse} or {2 * coarse - 1}, twice the input's {side} = {coarse} or "
                f"one less, got {tuple(lateral.shape)}"
            )
    check_same_device(**tensors)
    if not _library.autocasting(input.device):
        for name, tensor in tensors.items():
            if tensor is not None and tensor.dtype != input.dtype:
                raise TypeError(f"{name}: expected dtype {input.dtype} as input has, got {tensor.dtype}")


def _is_channels_last(t: Tensor) -> bool:
    return not t.is_contiguous() and t.is_contiguous(memory_format=torch.channels_last)


def _format(*tensors: Tensor) -> torch.memory_format:
    return torch.channels_last if any(map(_is_channels_last, tensors)) else torch.contiguous_format


@_library.register_fake("deconv_sum")
def _fake(input: Tensor, weight: Tensor, bias: Tensor | None, lateral: Tensor, relu: bool) -> Tensor:
    _check(input, weight, bias, lateral)
    return torch.empty_like(lateral, memory_format=_format(input, lateral))


@_library.register_fake("_deconv_sum_backward")
def _fake_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    out: Tensor | None,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
    need_lateral: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    maps = _format(input, grad if out is None else out)
    taps = _format(weight) if maps == torch.channels_last else torch.contiguous_format
    return (
        torch.empty_like(input, memory_format=maps) if need_input else input.new_empty(0),
        torch.empty_like(weight, memory_format=taps) if need_weight else input.new_empty(0),
        input.new_empty(weight.shape[1]) if need_bias else input.new_empty(0),
        torch.empty_like(grad, memory_format=maps) if need_lateral else input.new_empty(0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    input, weight, _, _, relu = inputs
    ctx.save_for_backward(input, weight, output if relu else None)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    input, weight, out = ctx.saved_tensors
    need_input, need_weight, need_bias, need_lateral = ctx.needs_input_grad[:4]
    masked = need_lateral and out is not None  # without ReLU the gradient of `lateral` is `grad` itself
    grads: list[Tensor | None] = [None] * 4
    if need_input or need_weight or need_bias or masked:
        grads = list(_backward(grad, input, weight, out, need_input, need_weight, need_bias, masked))
    wanted = (need_input, need_weight, need_bias, masked)
    result = [g if want else None for g, want in zip(grads, wanted, strict=True)]
    if need_lateral and not masked:
        result[3] = grad
    return *result, None


_library.register_no_second_derivative("_deconv_sum_backward")
_library.register_autograd("deconv_sum", _autograd, setup_context=_setup_context)
_library.register_autocast("deconv_sum", "lower")
_library.register_vmap("deconv_sum", images={0: 4, 3: 4})
_library.register_vmap("_deconv_sum_backward")
