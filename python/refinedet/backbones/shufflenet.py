"""ShuffleNet V2 (Ma et al., ECCV 2018) as a backbone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_integer
from ..init import init_kaiming
from .extra_stages import ConvStage, ExtendedBackbone, ExtraStage
from .layers import conv_bn

# conv1, stages 2 to 4 and conv5 (table 5)
CHANNELS_05X, CHANNELS_10X = (24, 48, 96, 192, 1024), (24, 116, 232, 464, 1024)
CHANNELS_15X, CHANNELS_20X = (24, 176, 352, 704, 1024), (24, 244, 488, 976, 2048)


def shuffle_channels(x: Tensor, groups: int = 2) -> Tensor:
    """The first channel of every group, then the second of every group, and so on."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    """One unit (figure 3 c, d): half of the channels pass or, with stride 2, two branches halve the map; shuffled."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride == 2:
            depthwise = conv_bn(in_channels, in_channels, 3, 2, groups=in_channels, activation=None)
            self.branch1 = nn.Sequential(*depthwise, *conv_bn(in_channels, half))
        width = in_channels if stride == 2 else half
        self.branch2 = nn.Sequential(
            *conv_bn(width, half),
            *conv_bn(half, half, 3, stride, groups=half, activation=None),
            *conv_bn(half, half),
        )

    def forward(self, x: Tensor) -> Tensor:
        passed, changed = (x, x) if self.stride == 2 else x.chunk(2, dim=1)
        return shuffle_channels(torch.cat([self.branch1(passed), self.branch2(changed)], dim=1))


class ShuffleNetV2(ExtendedBackbone):
    """Maps of the 1.0x network: 116 channels at stride 8, 232 at 16, 1024 (conv5) at 32, and the extra stages.

    channels: of conv1, stages 2 to 4 (even numbers) and conv5. repeats: units of stages 2 to 4.
    extras: the stages behind conv5. finest_stride: 16 leaves out the map of stride 8.

    Key names as torchvision's shufflenet_v2_x1_0.
    """

    classifier_keys = ("fc.weight", "fc.bias")

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS_10X,
        repeats: Sequence[int] = (4, 8, 4),
        *,
        extras: Iterable[ExtraStage] = (ConvStage(256, 512),),
        finest_stride: int = 8,
    ) -> None:
        super().__init__()
        if len(channels) != 5 or any(width % 2 for width in channels[1:4]):
            raise ValueError(f"channels: expected 5 numbers, the middle 3 even, got {tuple(channels)}")
        if len(repeats) != 3:
            raise ValueError(f"repeats: expected one number for each of 3 stages, got {tuple(repeats)}")
        self.conv1 = conv_bn(3, channels[0], 3, 2)
        stages = []
        for before, width, repeat in zip(channels, channels[1:4], repeats, strict=False):
            check_integer(repeat, "repeats", 1)
            units = [ShuffleUnit(width, width, 1) for _ in range(repeat - 1)]
            stages.append(nn.Sequential(ShuffleUnit(before, width, 2), *units))
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = conv_bn(channels[3], channels[4])
        init_kaiming(self)
        maps = (channels[1], channels[2], channels[4])
        self.extend(maps, (8, 16, 32), extras, finest_stride=finest_stride)

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.conv1(images), 3, 2, padding=1)
        stride8 = self.stage2(x)
        stride16 = self.stage3(stride8)
        return [stride8, stride16, self.conv5(self.stage4(stride16))]
