"""What ONNX calls the operations of `refinedet_ext` that a network contains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .onnx_detect import detect_translation

OPSET = 19  # the first with DeformConv


def translations(op: Any, keep_per_class: int | None = None) -> dict[Any, Callable[..., Any]]:
    """Functions that write our ops in ONNX's. op: `onnxscript.opset19`. keep_per_class: as for `detect_translation`."""

    def deconv_sum(input: Any, weight: Any, bias: Any, lateral: Any, relu: bool) -> Any:
        """Transposed convolution, cropped at the end to the lateral map's size, plus that map, ReLU."""
        up = op.ConvTranspose(input, weight, bias, strides=[2, 2])
        size = op.Shape(lateral, start=2)
        up = op.Slice(up, op.Constant(value_ints=[0, 0]), size, op.Constant(value_ints=[2, 3]))
        total = op.Add(up, lateral)
        return op.Relu(total) if relu else total

    def deform_align(
        input: Any,
        weight: Any,
        offset: Any = None,
        center: Any = None,
        mask: Any = None,
        bias: Any = None,
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] = (0, 0),
        dilation: Sequence[int] = (1, 1),
    ) -> Any:
        kernel = [int(side) for side in weight.shape[2:]]
        taps = kernel[0] * kernel[1]
        groups = int(input.shape[1]) // int(weight.shape[1])
        geometry = {
            "dilations": list(dilation),
            "strides": list(stride),
            "pads": [*padding, *padding],
            "group": groups,
        }
        if offset is None and center is None and mask is None:
            return op.Conv(input, weight, bias, kernel_shape=kernel, **geometry)
        offset_groups = 1
        if center is not None:
            if int(center.shape[1]) != 2:
                raise NotImplementedError(
                    f"center: ONNX export takes one offset group, got {int(center.shape[1]) // 2}"
                )
            shifts = op.Tile(center, op.Constant(value_ints=[1, taps, 1, 1]))
            offset = shifts if offset is None else op.Add(offset, shifts)
        elif offset is not None:
            offset_groups = int(offset.shape[1]) // (2 * taps)
        else:
            raise NotImplementedError("mask: ONNX export takes a mask beside an offset or a center only")
        return op.DeformConv(
            input, weight, offset, bias, mask, kernel_shape=kernel, offset_group=offset_groups, **geometry
        )

    ops = torch.ops.refinedet_ext
    return {
        ops.deconv_sum.default: deconv_sum,
        ops.deform_align.default: deform_align,
        ops.detect.default: detect_translation(op, keep_per_class),
    }
