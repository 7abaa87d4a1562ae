"""L2 normalization over channels with a learned scale (ParseNet; RefineDet uses it on conv4_3 and conv5_3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..checks import check_count, check_range

EPSILON = 1e-10


class L2Norm(nn.Module):
    """``y_c = weight_c * x_c / sqrt(sum_c x_c^2 + 1e-10)`` at every pixel.

    The squares are summed in float32 for the 16-bit types: activations of a few hundred would overflow float16.

    Args:
        channels: number of input channels, one learned scale each.
        scale: value that every entry of `weight` starts with (RefineDet: 10 and 8).

    Shape:
        - input: (B, channels, H, W)
        - output: of the same shape and dtype

    Raises:
        TypeError: for a channels that is not an integer, or a scale that is not a number.
        ValueError: for numbers that are out of range, and in a call for another shape.

    Source:
        ParseNet (Liu et al. 2015); RefineDet uses it on conv4_3 and conv5_3.

    Example:
        >>> import torch
        >>> L2Norm(3, scale=10)(torch.full((1, 3, 2, 2), 7.0)).square().sum(dim=1).sqrt()
        tensor([[[10.0000, 10.0000],
                 [10.0000, 10.0000]]], grad_fn=<SqrtBackward0>)
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.channels = check_count(channels, "channels", 1)
        self.scale = check_range(scale, "scale")
        self.weight = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, self.scale)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 4 or input.shape[1] != self.channels:
            raise ValueError(f"input: expected shape (B, {self.channels}, H, W), got {tuple(input.shape)}")
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        norm = (x * x).sum(dim=1, keepdim=True).add(EPSILON).sqrt()
        return (x / norm * self.weight.to(x.dtype).view(1, -1, 1, 1)).to(input.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, scale={self.scale:g}"
