"""VGG-16 with SSD's tail, and extra stages behind it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from torch import Tensor, nn

from ..init import init_caffe
from .extra_stages import ExtendedBackbone, ExtraStage
from .vgg import CONV4_3, load_trunk, run_layers, trunk_layers


class SSDVGG16(ExtendedBackbone):
    """VGG-16 without batch norm; pool5 keeps the resolution, and fc6 is a 3x3 convolution of dilation 6, fc7 a 1x1.

    Maps: conv4_3 (512, stride 8) and fc7 (1024, 16), each after its ReLU, and one per extra stage. The layers of
    `trunk` have the indices of the public "vgg16_reducedfc" file, as in `VGG16`, whose pool5 halves the resolution and
    whose fc6 has dilation 3.

    The trunk starts with Caffe's xavier; `load_weights` brings the pretrained one.

    Source: SSD (Liu et al. 2016), section 3; the trunk of EFGRNet.
    """

    def __init__(self, extras: Iterable[ExtraStage] = ()) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*trunk_layers(nn.MaxPool2d(3, 1, padding=1), fc6_dilation=6))
        init_caffe(self.trunk)
        self.extend((512, 1024), (8, 16), extras)

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        conv4_3 = run_layers(self.trunk[: CONV4_3 + 1], images, self.recompute)
        return [conv4_3, self.trunk[CONV4_3 + 1 :](conv4_3)]

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load the trunk from a local ImageNet checkpoint; the kinds of files are those of `VGG16.load_weights`."""
        load_trunk(self, self.trunk, path)
