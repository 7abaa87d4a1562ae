"""Backbones: networks that turn images into maps at several strides."""

from __future__ import annotations

from .base import Backbone
from .efficientnet_lite import EFFICIENTNET_PIXELS, EfficientNetLite0
from .extra_stages import BottleneckStage, ConvStage, ExtendedBackbone
from .mobilenet import MobileNetV1, MobileNetV2, MobileNetV3
from .res2net_lite import Res2NetLite
from .resnet import ResNet
from .shufflenet import ShuffleNetV2
from .small import SmallNet
from .torchvision_weights import TORCHVISION_PIXELS
from .vgg import VGG16
from .vgg_ssd import SSDVGG16

__all__ = [
    "EFFICIENTNET_PIXELS",
    "TORCHVISION_PIXELS",
    "VGG16",
    "Backbone",
    "BottleneckStage",
    "ConvStage",
    "EfficientNetLite0",
    "ExtendedBackbone",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "Res2NetLite",
    "ResNet",
    "SSDVGG16",
    "ShuffleNetV2",
    "SmallNet",
]
