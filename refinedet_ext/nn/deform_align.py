"""Deformable convolution whose sampling points follow predicted boxes (EFGRNet's FGRM, PADet's FAM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..checks import check_count, check_pair
from ..ops.deform_align import deform_align


def _pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    try:
        vertical, horizontal = check_pair(value, name, least)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected an integer of at least {least} or a pair of them, got {value!r}") from None
    return vertical, horizontal


class DeformAlign(nn.Module):
    """A deformable convolution layer on `refinedet_ext.deform_align`; offsets come with the call.

    Without offset, center and mask it is a plain convolution. Weights start uniform within 1/sqrt(fan_in), biases at
    zero. On a GPU let them lie channels_last (`module.to(memory_format=torch.channels_last)`), or every call begins
    with a copy that does.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as `torch.nn.Conv2d`.

    Shape:
        - input: (B, in_channels, H, W)
        - offset: ``(B, 2*og*kh*kw, Ho, Wo)``, per tap (dy, dx), or None
        - mask: ``(B, og*kh*kw, Ho, Wo)`` or None
        - center, by name alone: ``(B, 2*og, Ho, Wo)``, one (dy, dx) added to every tap, or None
        - output: (B, out_channels, Ho, Wo)

    Raises:
        TypeError: for dtypes that do not fit, as the op.
        ValueError: for numbers that do not fit, and in a call for shapes and devices, as the op.

    Example:
        >>> import torch
        >>> align = DeformAlign(256, 256, 3, padding=5, dilation=5, bias=False)
        >>> align(torch.rand(1, 256, 40, 40), torch.rand(1, 18, 40, 40)).shape
        torch.Size([1, 256, 40, 40])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        in_channels, out_channels = (
            check_count(in_channels, "in_channels", 1),
            check_count(out_channels, "out_channels", 1),
        )
        groups = check_count(groups, "groups")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups: expected a divisor of in_channels {in_channels} and out_channels {out_channels}, got {groups}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.padding = _pair("padding", padding, 0)
        self.dilation = _pair("dilation", dilation, 1)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        input: Tensor,
        offset: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        center: Tensor | None = None,
    ) -> Tensor:
        return deform_align(
            input,
            offset,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            mask,
            center=center,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, "
            f"bias={self.bias is not None}"
        )
