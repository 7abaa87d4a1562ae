"""A small residual network for training from scratch on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..init import init_kaiming
from .base import Backbone


def conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv_bn_relu(channels, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(self.conv1(x))))


class SmallNet(Backbone):
    """Dense 3x3 convolutions with few channels: on CPUs they run faster than depthwise ones of equal use.

    stem: channels at strides 2 and 4. channels: of the four maps at strides 8, 16, 32 and 64. depths: residual
    blocks of each map, after the convolution that halves the resolution.
    """

    strides = (8, 16, 32, 64)

    def __init__(
        self,
        stem: tuple[int, int] = (16, 32),
        channels: Sequence[int] = (64, 128, 128, 128),
        depths: Sequence[int] = (2, 2, 1, 1),
    ) -> None:
        super().__init__()
        self.out_channels = tuple(channels)
        self.stem = nn.Sequential(conv_bn_relu(3, stem[0], 2), conv_bn_relu(stem[0], stem[1], 2), Residual(stem[1]))
        stages = []
        before = stem[1]
        for width, depth in zip(channels, depths, strict=True):
            blocks = [Residual(width) for _ in range(depth)]
            stages.append(nn.Sequential(conv_bn_relu(before, width, 2), *blocks))
            before = width
        self.stages = nn.ModuleList(stages)
        init_kaiming(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
