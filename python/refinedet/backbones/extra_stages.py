"""The stages that detectors add behind a pretrained trunk for their coarsest maps."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from ..checks import check_choice, check_integer
from ..init import init_kaiming, init_normal
from .base import Backbone
from .bottleneck import Bottleneck
from .checkpoint import load_strict, read_state_dict
from .layers import BN_MOMENTUM, conv_bn
from .torchvision_weights import convert_torchvision

EXTRAS = "extras."


class ExtraStage(Protocol):
    """Describes one stage; `build` makes it, with its first weights, for the map it gets."""

    @property
    def out_channels(self) -> int: ...
    @property
    def stride(self) -> int: ...
    def build(self, in_channels: int) -> nn.Module: ...


@dataclass(frozen=True)
class ConvStage:
    """A 1x1 convolution to `mid_channels` and a 3x3 one to `out_channels` with the stride, each with norm and ReLU.

    As VGG-16's conv6_1 and conv6_2, with batch norm.
    """

    mid_channels: int
    out_channels: int
    stride: int = 2
    momentum: float = BN_MOMENTUM

    def build(self, in_channels: int) -> nn.Module:
        stage = nn.Sequential(
            conv_bn(in_channels, self.mid_channels, momentum=self.momentum),
            conv_bn(self.mid_channels, self.out_channels, 3, self.stride, momentum=self.momentum),
        )
        init_kaiming(stage)
        return stage


@dataclass(frozen=True)
class BottleneckStage:
    """A bottleneck with projection, the stride on its first 1x1 (RefineDet's res6), weights N(0, std)."""

    mid_channels: int
    out_channels: int
    stride: int = 2
    momentum: float = BN_MOMENTUM
    std: float = 0.01

    def build(self, in_channels: int) -> nn.Module:
        stage = Bottleneck(
            in_channels,
            self.mid_channels,
            self.out_channels,
            self.stride,
            stride_on="conv1",
            projection=True,
            momentum=self.momentum,
        )
        init_normal(stage, self.std)
        return stage


class ExtendedBackbone(Backbone):
    """A trunk with torchvision's key names, whose last map a chain of extra stages takes on.

    A subclass builds its trunk, calls `extend`, and defines `trunk_maps`. forward returns the trunk's maps and one
    per extra stage, without those finer than asked for; the stages are `extras`.
    """

    own_stages = (EXTRAS,)
    classifier_keys: tuple[str, ...] = ()
    """What a checkpoint of the trunk has beyond it: the layers behind the last map."""

    def extend(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        stages: Iterable[ExtraStage],
        *,
        finest_stride: int | None = None,
    ) -> None:
        """Add the stages behind a trunk whose maps have these channels and strides.

        finest_stride: maps of smaller strides are not returned; None returns all.
        """
        self._trunk_channels = channels[-1]
        all_channels, all_strides = list(channels), list(strides)
        extras = nn.ModuleList()
        for stage in stages:
            check_integer(stage.stride, "extra stage's stride", 1)
            extras.append(stage.build(all_channels[-1]))
            all_channels.append(stage.out_channels)
            all_strides.append(all_strides[-1] * stage.stride)
        self.extras = extras
        finest = all_strides[0] if finest_stride is None else finest_stride
        check_choice(finest, "finest_stride", all_strides)
        self._first = all_strides.index(finest)
        self.out_channels, self.strides = tuple(all_channels[self._first :]), tuple(all_strides[self._first :])

    @abstractmethod
    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        """The maps of the trunk, the finest first."""

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.trunk_maps(images)
        for stage in self.extras:
            maps.append(stage(maps[-1]))
        return maps[self._first :]

    def own_names(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A checkpoint of the trunk under this class's names; those of others that it knows are changed."""
        return state

    @property
    def trunk_channels(self) -> int:
        return self._trunk_channels

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk_maps(images)[-1]

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load the trunk from a local ImageNet checkpoint, or a state dict of this class, see `own_names`.

        Of a checkpoint, the classification layer is left out and the extra stages keep their values.

        FileNotFoundError without the file; ValueError that names the keys that are missing, left over or of another
        shape; nothing is loaded then.
        """
        state = read_state_dict(path)
        if not any(key.startswith(EXTRAS) for key in state):
            named = self.own_names(state)
            state = convert_torchvision(named, self.state_dict(), classifier=self.classifier_keys, kept=EXTRAS)
        load_strict(self, state, source=str(path))
