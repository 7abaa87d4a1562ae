"""The blocks that EFGRNet adds to its backbone."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .backbones.layers import conv_bn, relu

MOMENTUM = 0.01  # of the running statistics of EFGRNet's own batch norms


def cbr(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    activation: bool = True,
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; without ReLU if activation is False."""
    return conv_bn(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        dilation=dilation,
        activation=relu if activation else None,
        momentum=MOMENTUM,
    )


class ResidualBottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 `cbr` and their input, added; ReLU. The inner width is a quarter.

    Unlike ResNet's bottleneck, and as the released code has it, the last `cbr` keeps its ReLU before the sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.body = nn.Sequential(cbr(channels, inner, 1), cbr(inner, inner, 3), cbr(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))
