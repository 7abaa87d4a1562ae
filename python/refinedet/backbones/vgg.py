"""VGG-16 with fc6 and fc7 turned into convolutions, as RefineDet uses it."""

from __future__ import annotations

import os
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ..init import init_caffe
from .base import Backbone
from .checkpoint import load_strict, read_state_dict
from .vgg_weights import convert_vgg16

# conv blocks of VGG-16, each followed by a pooling layer
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
CONV4_3, CONV5_3, FC7 = 22, 29, 34  # index of the ReLU behind each source in `trunk`


def trunk_layers(pool5: nn.Module, *, fc6_dilation: int) -> list[nn.Module]:
    """The layers from the image to fc7's ReLU, with the indices of the public "vgg16_reducedfc" file.

    pool5: the last pooling layer. fc6_dilation: of the 3x3 convolution that fc6 has become.
    """
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        for width in stage:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
    layers[-1] = pool5
    layers += [nn.Conv2d(512, 1024, 3, padding=fc6_dilation, dilation=fc6_dilation), nn.ReLU(inplace=True)]
    layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]
    return layers


def run_layers(layers: nn.Module, x: Tensor, recompute: bool) -> Tensor:
    """The layers one after the other. recompute: keep what goes into each resolution and compute the rest again for the
    gradients."""
    if not (recompute and torch.is_grad_enabled()):
        return cast(Tensor, layers(x))
    assert isinstance(layers, nn.Sequential)
    start = 0
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d) or place == len(layers) - 1:
            x = checkpoint(layers[start : place + 1], x, use_reentrant=False)
            start = place + 1
    return x


class VGG16(Backbone):
    """VGG-16 without batch norm, fc6 as a 3x3 convolution of dilation 3, fc7 as a 1x1, then conv6_1 and conv6_2.

    Maps: conv4_3 (512, stride 8), conv5_3 (512, 16), fc7 (1024, 32), conv6_2 (512, 64), each after its ReLU. Unlike
    SSD's, pool5 has stride 2. The layers of `trunk` have the indices of the public "vgg16_reducedfc" file.

    All layers start with Caffe's xavier; `load_weights` brings the pretrained trunk.
    """

    out_channels = (512, 512, 1024, 512)
    strides = (8, 16, 32, 64)
    own_stages = ("conv6_",)

    def __init__(self) -> None:
        super().__init__()
        pool5 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.trunk = nn.Sequential(*trunk_layers(pool5, fc6_dilation=3))
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        init_caffe(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        conv4_3 = run_layers(self.trunk[: CONV4_3 + 1], images, self.recompute)
        conv5_3 = run_layers(self.trunk[CONV4_3 + 1 : CONV5_3 + 1], conv4_3, self.recompute)
        fc7 = self.trunk[CONV5_3 + 1 :](conv5_3)
        conv6_2 = F.relu(self.conv6_2(F.relu(self.conv6_1(fc7))))
        return [conv4_3, conv5_3, fc7, conv6_2]

    @property
    def trunk_channels(self) -> int:
        return self.out_channels[2]

    def trunk_features(self, images: Tensor) -> Tensor:
        return run_layers(self.trunk, images, self.recompute)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load the trunk from a local ImageNet checkpoint; conv6_1 and conv6_2 keep their values.

        The file is the public "vgg16_reducedfc" (keys "0.weight" to "33.bias"), a VGG-16 of torchvision (keys
        "features.0.weight", "classifier.0.weight", ...), whose fully connected layers are subsampled and whose first
        layer is adapted to this package's images, or a state dict of this class.

        FileNotFoundError without the file; ValueError that names the keys if they or their shapes do not fit.
        """
        load_trunk(self, self.trunk, path)


def load_trunk(backbone: Backbone, trunk: nn.Module, path: str | os.PathLike[str]) -> None:
    """The file's weights for the whole backbone if they are its own, for its trunk if they are a public VGG-16's."""
    state = read_state_dict(path)
    if any(key.startswith("trunk.") for key in state):
        load_strict(backbone, state, source=str(path))
    else:
        load_strict(trunk, convert_vgg16(state, source=str(path)), source=str(path))
