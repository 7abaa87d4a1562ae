"""Deconvolution with a sum, and deformable convolution."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from .boxes import store, working


def deconv_sum(
    input: Tensor, weight: Tensor, bias: Tensor | None, lateral: Tensor, *, activation: str = "none"
) -> Tensor:
    up = F.conv_transpose2d(input, weight, bias, stride=2)
    out = up[:, :, : lateral.shape[2], : lateral.shape[3]] + lateral
    return out.relu() if activation == "relu" else out


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else cast("tuple[int, int]", tuple(value))


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
    """One `grid_sample` per kernel tap and offset group, then one grouped contraction, in the input's working dtype."""
    (stride_y, stride_x), (pad_y, pad_x), (dil_y, dil_x) = _pair(stride), _pair(padding), _pair(dilation)
    result, dtype = input.dtype, working(input)
    input, weight = input.to(dtype), weight.to(dtype)
    batch, channels, height, width = input.shape
    out_channels, group_channels, kernel_h, kernel_w = weight.shape
    groups, taps = channels // group_channels, kernel_h * kernel_w
    out_h = (height + 2 * pad_y - dil_y * (kernel_h - 1) - 1) // stride_y + 1
    out_w = (width + 2 * pad_x - dil_x * (kernel_w - 1) - 1) // stride_x + 1
    if offset is not None:
        offset_groups = offset.shape[1] // (2 * taps)
    elif center is not None:
        offset_groups = center.shape[1] // 2
    else:
        offset_groups = mask.shape[1] // taps if mask is not None else 1
    total = input.new_zeros(batch, offset_groups, taps, 2, out_h, out_w)
    if offset is not None:
        total = total + offset.to(dtype).reshape(batch, offset_groups, taps, 2, out_h, out_w)
    if center is not None:
        total = total + center.to(dtype).reshape(batch, offset_groups, 1, 2, out_h, out_w)
    base_y = torch.arange(out_h, dtype=dtype)[:, None] * stride_y - pad_y
    base_x = torch.arange(out_w, dtype=dtype)[None, :] * stride_x - pad_x
    columns = []
    for tap in range(taps):
        row, col = divmod(tap, kernel_w)
        pieces = []
        for g, part in enumerate(input.chunk(offset_groups, dim=1)):
            y = base_y + row * dil_y + total[:, g, tap, 0]
            x = base_x + col * dil_x + total[:, g, tap, 1]
            piece = _bilinear(part, y, x)
            if mask is not None:
                piece = piece * mask.to(dtype).reshape(batch, offset_groups, taps, out_h, out_w)[:, g, tap][:, None]
            pieces.append(piece)
        columns.append(torch.cat(pieces, dim=1))
    stacked = torch.stack(columns, dim=2).reshape(batch, groups, group_channels, taps, out_h, out_w)
    kernel = weight.reshape(groups, out_channels // groups, group_channels, taps)
    out = torch.einsum("bgcthw,goct->bgohw", stacked, kernel).reshape(batch, out_channels, out_h, out_w)
    return store(out if bias is None else out + bias.to(dtype)[:, None, None], result)


def _bilinear(part: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Sample (B, c, H, W) at pixel positions (B, h, w); outside the map the value is zero, and so at NaN."""
    height, width = part.shape[2:]
    inside = (y > -1) & (y < height) & (x > -1) & (x < width)
    y, x = torch.where(inside, y, -2.0), torch.where(inside, x, -2.0)
    # grid_sample without align_corners maps -1 and 1 to the outer pixel borders
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    return F.grid_sample(part, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
