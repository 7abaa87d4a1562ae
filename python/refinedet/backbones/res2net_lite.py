"""Res2NetLite: the backbone of RefineDetLite (Chen et al. 2020, section 3 and table 1)."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_choice, check_integer
from ..init import init_kaiming
from .base import Backbone
from .checkpoint import load_strict, read_state_dict
from .layers import conv_bn

SPLITS = 4  # channel groups of a Res2Block
STEM = 32
RES2NET_BLOCKS = ("res2", "residual")

Groups = int | Literal["depthwise"]


class Bottleneck(nn.Sequential):
    """Halves the resolution: 1x1, grouped 3x3 of stride 2, 1x1, each with batch norm and ReLU; no shortcut.

    The inner width is a quarter of `out_channels`.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: Groups = 2) -> None:
        inner = out_channels // 4
        super().__init__(
            conv_bn(in_channels, inner, 1),
            conv_bn(inner, inner, 3, 2, groups=_groups(groups, inner)),
            conv_bn(inner, out_channels, 1),
        )


class Res2Block(nn.Module):
    """A residual block whose middle is a chain over four parts of the channels (Res2Net; figure 2 of the paper).

        x -> 1x1 -> x1 | x2 | x3 | x4      y1 = x1, y2 = K2(x2), y3 = K3(x3 + y2), y4 = K4(x4 + y3)
        relu(x + 1x1(y1 | y2 | y3 | y4))   K: grouped 3x3

    channels: of input and output. inner: width m of the middle, a multiple of 4. Every convolution has batch norm,
    and all but the last a ReLU of its own.
    """

    def __init__(self, channels: int, inner: int, groups: Groups = 2) -> None:
        super().__init__()
        part = inner // SPLITS
        self.reduce = conv_bn(channels, inner, 1)
        self.chain = nn.ModuleList(conv_bn(part, part, 3, groups=_groups(groups, part)) for _ in range(SPLITS - 1))
        self.expand = conv_bn(inner, channels, 1, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.reduce(x).chunk(SPLITS, dim=1)
        outputs = [first]
        for step, (conv, part) in enumerate(zip(self.chain, rest, strict=True)):
            outputs.append(conv(part if step == 0 else part + outputs[-1]))
        return F.relu(x + self.expand(torch.cat(outputs, dim=1)))


class ResBlock(nn.Module):
    """The classical residual block in a Res2Block's place (the paper's baseline): its middle is one dense 3x3."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(channels, inner, 1),
            conv_bn(inner, inner, 3),
            conv_bn(inner, channels, 1, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class Res2NetLite(Backbone):
    """Res2NetLite-c and the two extra stages that detection adds.

        image - batch norm - 3x3/2, 32 - max pool /2
          - stage 1: bottleneck /2, 3 blocks, 4c channels     stride 8
          - stage 2: bottleneck /2, 7 blocks, 8c              stride 16   map 1
          - stage 3: bottleneck /2, 3 blocks, 16c             stride 32   map 2
          - extra bottlenecks /2, 512 each                    strides 64 and 128   maps 3 and 4

    Maps round up: 20, 10, 5 and 3 cells at 320 pixels. The batch norm on the image learns mean and scale of the
    pixels, whatever their range.

    width: c, 72 in the paper; a multiple of 4. mid_div: the blocks' inner width is their channels over this: 4, 2 or 1
    (the paper does not give it; 4 fits its times). groups: of all 3x3 convolutions behind the stem but those of plain
    residual blocks, 2 in the paper; "depthwise" gives every channel its own. block: "res2", or "residual" for the
    ablation, dense as He et al. have it. depths: blocks of the three stages. extra_channels: of the last maps.
    """

    own_stages = ("extras.",)

    def __init__(
        self,
        width: int = 72,
        *,
        mid_div: int = 4,
        groups: Groups = 2,
        block: str = "res2",
        depths: Sequence[int] = (3, 7, 3),
        extra_channels: Sequence[int] = (512, 512),
    ) -> None:
        super().__init__()
        check_res2net_options(width, mid_div, groups, block)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            norm=nn.BatchNorm2d(3),
            stem=conv_bn(3, STEM, 3, 2),
            pool=nn.MaxPool2d(3, 2, 1),
        )
        before = STEM
        for number, depth in enumerate(depths):
            channels = width * 4 * 2**number
            inner = channels // mid_div
            blocks = [
                Res2Block(channels, inner, groups) if block == "res2" else ResBlock(channels, inner)
                for _ in range(depth)
            ]
            layers[f"stage{number + 1}"] = nn.Sequential(Bottleneck(before, channels, groups), *blocks)
            before = channels
        self.out_channels = (width * 8, width * 16, *extra_channels)
        self.strides = tuple(16 * 2**level for level in range(len(self.out_channels)))
        self.trunk = nn.Sequential(layers)
        self.extras = nn.ModuleList(
            Bottleneck(c, d, groups) for c, d in zip((before, *extra_channels), extra_channels, strict=False)
        )
        init_kaiming(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        fine = self.trunk[:-1](images)
        maps = [fine, self.trunk[-1](fine)]
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return maps

    @property
    def trunk_channels(self) -> int:
        return self.out_channels[1]

    def trunk_features(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.trunk(images))

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load a local file with this backbone's state dict, or with its trunk's alone (keys "norm.weight", ...).

        The latter is what training as a classifier leaves; the extra stages then keep their values. ValueError names
        the keys that do not fit.
        """
        state = read_state_dict(path)
        whole = any(key.startswith("trunk.") for key in state)
        load_strict(self if whole else self.trunk, state, source=str(path))


def check_res2net_options(width: int, mid_div: int, groups: Groups, block: str) -> None:
    """ValueError for options of `Res2NetLite` that its channels cannot be divided by."""
    check_integer(width, "width", 4)
    check_choice(mid_div, "mid_div", (4, 2, 1))
    check_choice(block, "block", RES2NET_BLOCKS)
    if width % 4:
        raise ValueError(f"width: expected a multiple of 4, got {width}")
    if groups == "depthwise":
        return
    check_integer(groups, "groups", 1)
    grouped = (width, 4 * width // mid_div // SPLITS) if block == "res2" else (width,)
    for channels in grouped:
        if channels % groups:
            raise ValueError(f"groups: expected a divisor of the {channels} channels of a 3x3, got {groups}")


def _groups(groups: Groups, channels: int) -> int:
    return channels if groups == "depthwise" else groups
