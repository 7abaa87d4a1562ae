"""Weight initialization as the original implementations do it."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn


def caffe_xavier_(weight: Tensor) -> Tensor:
    """Fill a convolution's weight with U(-a, a), a = sqrt(3 / fan_in), in place, and return it.

    fan_in is what one row of the blob holds, channels * kernel height * kernel width; of a deconvolution's weight
    (in, out, kh, kw) that is out * kh * kw. Not torch's `xavier_uniform_`, which is sqrt(6 / (fan_in + fan_out)).
    """
    if weight.dim() < 2:
        raise ValueError(f"weight: expected at least 2 dimensions, got shape {tuple(weight.shape)}")
    bound = math.sqrt(3 / weight[0].numel())
    return nn.init.uniform_(weight, -bound, bound)


def init_caffe(module: nn.Module) -> None:
    """Caffe's xavier for the weights and zero for the biases of all convolutions in `module`."""
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            caffe_xavier_(child.weight)
            if child.bias is not None:
                nn.init.zeros_(child.bias)


def init_normal(module: nn.Module, std: float) -> None:
    """N(0, std) for the weights and zero for the biases of all convolutions in `module`."""
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(child.weight, std=std)
            if child.bias is not None:
                nn.init.zeros_(child.bias)


def zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution, its weights and bias filled with zeros."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def init_kaiming(module: nn.Module, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Kaiming normal for convolutions, norms at one, biases at zero.

    mode: "fan_out" keeps the gradients' scale, and suits convolutions that batch norm follows; "fan_in" keeps the
    outputs' scale.
    """
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(child.weight, mode=mode, nonlinearity="relu")
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.BatchNorm2d):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)


def init_default(module: nn.Module) -> None:
    """PyTorch's own weights and zero for the biases of all convolutions in `module`."""
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            child.reset_parameters()
            if child.bias is not None:
                nn.init.zeros_(child.bias)
