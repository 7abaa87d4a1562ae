"""Deformable convolution with free offsets, one shift for all taps, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _library
from ..checks import check_floating, check_pair, check_same_device

_op = _library.op("deform_align")
_backward = _library.op("_deform_align_backward")
_UNIT_STEPS = [[1, 1], [0, 0], [1, 1]]


def deform_align(
    input: Tensor,
    offset: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    mask: Tensor | None = None,
    *,
    center: Tensor | None = None,
) -> Tensor:
    """Deformable convolution (v1, and v2 with `mask`): arguments and meaning of `torchvision.ops.deform_conv2d`.

    Tap (i, j) of the output pixel (y, x) reads the input, bilinearly, at row ``y * stride - padding + i * dilation +
    dy`` and likewise at a column with dx, where (dy, dx) is the tap's offset plus the pixel's center shift; the mask
    scales what it reads. Without offset, center and mask this is `conv2d`.

    Pixels outside the input count as zero. A position at or beyond -1 or the size, infinite or NaN, reads zero, and
    offset, center, mask and input get no gradient from it. At whole pixels, where the bilinear interpolation has two
    slopes, the gradient is that towards larger coordinates. float16 results stop at 65504 on a CPU and overflow to
    infinity on a GPU; gradients overflow to infinity.

    input, weight and bias have one dtype, which the result has. offset, center and mask may have others, and should be
    float32 beside bfloat16, whose eight bits cannot tell the columns of a map of 320. Positions and bilinear weights
    are computed in float32, for float64 input in float64. On a CPU float16 is computed in float32 and rounded once;
    bfloat16 is so too, except where the CPU multiplies it (AVX512-BF16). There, and for float16 and bfloat16 on a GPU,
    sampled values, their gradients, and every tile's part of the weights' gradient are rounded to the type. float64
    input is for the CPU. Under autocast input, weight and bias are cast to its dtype, but for float64, which stays;
    offset, center and mask stay as they are.

    A GPU multiplies float32 as in torch's convolutions: in TF32, which keeps ten bits of a factor's fraction, unless
    `torch.backends.cudnn.allow_tf32` is False (or `torch.backends.cudnn.conv.fp32_precision` "ieee"). Compiled and
    exported calls look that up when they run; in a process without Python it is float32.

    Args:
        input: (B, C, H, W), contiguous or channels_last; the result has the same layout.
        offset: ``(B, 2*og*kh*kw, Ho, Wo)`` or None; of offset group g and tap ``k = i*kw + j``, channel
            ``2*(g*kh*kw + k)`` is dy, the next one dx. Each of the og groups moves C / og channels.
        weight: (Co, C / groups, kh, kw); the groups follow from its shape. A GPU multiplies it as it lies if it is
            channels_last and C / groups * kh * kw a multiple of 8, else puts it into that order in every call.
        bias: (Co,) or None.
        stride, padding, dilation: one integer, or (vertical, horizontal).
        mask: ``(B, og*kh*kw, Ho, Wo)`` or None.
        center: ``(B, 2*og, Ho, Wo)`` or None, one (dy, dx) per offset group, added to the offsets of all taps. The sum
            is never stored.

    Returns:
        (B, Co, Ho, Wo) with ``Ho = (H + 2*padding - dilation*(kh - 1) - 1) // stride + 1``, and Wo likewise.
        Differentiable once in all tensors.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes, devices and numbers that do not fit.

    Note:
        Memory beside the result: on a CPU some 10 MB (a thread keeps up to 16 MB for the next call), the weights once
        or thrice, and for a contiguous input channels-last copies of at most 32 MB (with one group in float16 and
        bfloat16: of one image, in its own dtype if that is more, and backward in float32); on a GPU columns of 64 MB,
        the weights once or thrice, and 64 MB or one image for copies and sums.

        Sampling and its backward give the same bits with any number of threads; for the matrix products that is up to
        torch. On a GPU the input's gradient is added up in float32 in no fixed order, so that its last bits differ from
        run to run; under `torch.use_deterministic_algorithms(True)` it is added up in 64-bit integers instead, which
        takes longer, always gives the same bits, and makes all of it NaN where a part is not finite.

        A package of AOTInductor counts on the memory layout that its inputs had at the export, here as behind torch's
        own layers, and gives wrong results for another; with AOTI_RUNTIME_CHECK_INPUTS=1 in the environment it refuses
        it.

    Source:
        Dai et al. 2017, eq. 2; the mask: Zhu et al. 2019, eq. 1; offsets from predicted boxes: EFGRNet (Nie et al.
        2019), eq. 2.

    Example:
        >>> image = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> shift = torch.tensor([0.0, 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
        >>> deform_align(image, None, torch.ones(1, 1, 1, 1), center=shift)
        tensor([[[[0.5000, 1.5000, 2.5000, 1.5000]]]])
    """
    if stride == 1 and padding == 0 and dilation == 1 and type(stride) is type(padding) is type(dilation) is int:
        steps = []  # the op's own defaults: lists cost a short call a microsecond
    else:
        steps = [check_pair(stride, "stride", 1), check_pair(padding, "padding"), check_pair(dilation, "dilation", 1)]
    try:
        return _op(input, weight, offset, center, mask, bias, *steps)
    except (RuntimeError, TypeError) as error:
        _check(input, offset, weight, bias, steps or _UNIT_STEPS, mask, center)
        _library.drop_location(error)
        raise


def _out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def _out_shape(input: Tensor, weight: Tensor, steps: list[list[int]]) -> tuple[int, ...]:
    height, width = (_out_size(input.shape[2 + d], weight.shape[2 + d], *(step[d] for step in steps)) for d in (0, 1))
    return (input.shape[0], weight.shape[0], height, width)


def _check(
    input: Tensor,
    offset: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    steps: list[list[int]],
    mask: Tensor | None,
    center: Tensor | None,
) -> None:
    maps = {"offset": offset, "center": center, "mask": mask}
    tensors = {"input": input, "weight": weight, "bias": bias, **maps}
    for name, tensor in tensors.items():
        if tensor is not None or name in ("input", "weight"):
            check_floating(tensor, name)
    check_same_device(**tensors)
    if not _library.autocasting(input.device):
        for name in ("weight", "bias"):
            tensor = tensors[name]
            if tensor is not None and tensor.dtype != input.dtype:
                raise TypeError(f"{name}: expected dtype {input.dtype} as input has, got {tensor.dtype}")
    if input.dim() != 4:
        raise ValueError(f"input: expected shape (B, C, H, W), got {tuple(input.shape)}")
    if weight.dim() != 4 or 0 in weight.shape[1:]:
        raise ValueError(f"weight: expected shape (Co, C / groups, kh, kw), got {tuple(weight.shape)}")

    channels, (out_channels, group_channels, kernel_h, kernel_w) = input.shape[1], weight.shape
    taps = kernel_h * kernel_w
    if channels == 0 or channels % group_channels:
        raise ValueError(
            f"input: expected a multiple of {group_channels} channels for weight {tuple(weight.shape)}, "
            f"got {tuple(input.shape)}"
        )
    groups = channels // group_channels
    if out_channels % groups:
        raise ValueError(
            f"weight: expected a multiple of {groups} output channels ({groups} groups of {group_channels} channels "
            f"in input {tuple(input.shape)}), got {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != (out_channels,):
        raise ValueError(f"bias: expected shape ({out_channels},), got {tuple(bias.shape)}")
    batch, _, out_h, out_w = _out_shape(input, weight, steps)
    if out_h < 0 or out_w < 0:
        raise ValueError(
            f"input: expected a map that the kernel fits into, got {tuple(input.shape)} for weight "
            f"{tuple(weight.shape)} with stride, padding, dilation {', '.join(str(tuple(step)) for step in steps)}"
        )

    offset_groups = None
    for name, per_group in (("offset", 2 * taps), ("center", 2), ("mask", taps)):
        tensor = maps[name]
        if tensor is None:
            continue
        if offset_groups is None:  # the first one given says how many there are
            if tensor.dim() != 4 or tensor.shape[1] == 0 or tensor.shape[1] % per_group:
                raise ValueError(
                    f"{name}: expected shape ({batch}, {per_group} * offset groups, {out_h}, {out_w}), "
                    f"got {tuple(tensor.shape)}"
                )
            offset_groups = tensor.shape[1] // per_group
            if channels % offset_groups:
                raise ValueError(
                    f"{name}: expected offset groups that divide the {channels} channels of input, "
                    f"got {offset_groups} in {tuple(tensor.shape)}"
                )
        expected = (batch, per_group * offset_groups, out_h, out_w)
        if tensor.shape != expected:
            raise ValueError(f"{name}: expected shape {expected}, got {tuple(tensor.shape)}")


def _new_like(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """With the layout that the kernels choose: channels_last if the tensor is that and not contiguous."""
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


@_library.register_fake("deform_align")
def _fake(
    input: Tensor,
    weight: Tensor,
    offset: Tensor | None,
    center: Tensor | None,
    mask: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    steps = [list(stride), list(padding), list(dilation)]
    _check(input, offset, weight, bias, steps, mask, center)
    return _new_like(input, _out_shape(input, weight, steps))


@_library.register_fake("_deform_align_backward")
def _fake_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor | None,
    center: Tensor | None,
    mask: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    output_mask: list[bool],
    deterministic: bool = False,
) -> tuple[Tensor, ...]:
    def map_grad(tensor: Tensor | None, wanted: bool) -> Tensor:
        if tensor is None or not wanted:
            return input.new_empty(0, dtype=torch.float32)
        return torch.empty_like(tensor, memory_format=torch.contiguous_format)

    return (
        _new_like(input, input.shape) if output_mask[0] else input.new_empty(0),
        _new_like(weight, weight.shape) if output_mask[1] else input.new_empty(0),
        *(map_grad(t, wanted) for t, wanted in zip((offset, center, mask), output_mask[2:5], strict=True)),
        input.new_empty(weight.shape[0] if output_mask[5] else 0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, _bias, ctx.stride, ctx.padding, ctx.dilation = inputs
    ctx.save_for_backward(*tensors)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    wanted = list(ctx.needs_input_grad[:6])
    deterministic = torch.are_deterministic_algorithms_enabled()
    grads = _backward(grad, *ctx.saved_tensors, ctx.stride, ctx.padding, ctx.dilation, wanted, deterministic)
    return (*(g if w else None for g, w in zip(grads, wanted, strict=True)), None, None, None)


_library.register_no_second_derivative("_deform_align_backward")
_library.register_autograd("deform_align", _autograd, setup_context=_setup_context)
_library.register_autocast("deform_align", "lower", keep=(2, 3, 4))
_library.register_vmap("deform_align", images={0: 4, 2: 4, 3: 4, 4: 4})
_library.register_vmap("_deform_align_backward")
