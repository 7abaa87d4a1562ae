"""Convolution, batch norm and activation in one block."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from refinedet_ext.nn import DepthwiseConv2d

BN_EPS = 1e-5
BN_MOMENTUM = 0.1


def relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    *,
    dilation: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = relu,
    eps: float = BN_EPS,
    momentum: float = BN_MOMENTUM,
) -> nn.Sequential:
    """Convolution without bias ("0"), batch norm ("1") and, unless None, the activation ("2").

    Padded so that stride 1 keeps the size, and stride 2 halves it, rounding up. activation: makes the module.
    """
    padding = dilation * (kernel_size - 1) // 2
    if dilation == 1 and 1 < groups == in_channels == out_channels:
        convolution: nn.Conv2d = DepthwiseConv2d(groups, kernel_size, stride, padding, bias=False)
    else:
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels` that is not more than a tenth below it (MobileNet V2 and V3)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
