"""The registry's PADet models."""

from __future__ import annotations

from dataclasses import replace

from ..backbones import SSDVGG16, ConvStage, ResNet, SmallNet
from ..registry import register_model
from .padet import PADet, PADetConfig

# SSD's shares of the input for COCO: the size of each level and of the one above it
SHARES = {384: (7, 15, 33, 51, 69, 87, 105), 512: (4, 10, 26, 42, 58, 74, 90, 106)}
SMALL_SHARES = (10, 20, 37, 54, 71, 88)


def anchors_of(input_size: int, shares: tuple[int, ...]) -> dict[str, tuple[object, ...]]:
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


def paper(input_size: int) -> PADetConfig:
    return PADetConfig(input_size=input_size, **anchors_of(input_size, SHARES[input_size]))  # type: ignore[arg-type]


def extras_of(input_size: int) -> tuple[ConvStage, ...]:
    """E3 to E5, and E6 where the input is 512, so that the top maps are 2x2 and 1x1 there (CHOICE)."""
    return (ConvStage(128, 256),) * (2 if input_size < 512 else 3)


@register_model("padet384_vgg16", paper(384))
@register_model("padet512_vgg16", paper(512))
def padet_vgg16(config: PADetConfig, num_classes: int) -> PADet:
    """PADet with VGG-16 and SSD's tail."""
    extras = (ConvStage(256, 512), *extras_of(config.input_size))
    return PADet(SSDVGG16(extras), config, num_classes)


@register_model("padet384_resnet101", paper(384))
@register_model("padet512_resnet101", paper(512))
def padet_resnet101(config: PADetConfig, num_classes: int) -> PADet:
    """PADet with ResNet-101."""
    first, *others = extras_of(config.input_size)
    extras = (replace(first, mid_channels=256, out_channels=512), *others)
    return PADet(ResNet(style="torchvision", extras=extras), config, num_classes)


@register_model(
    "padet192_small",
    PADetConfig(input_size=192, decoder_channels=64, head_std=0.01, **anchors_of(192, SMALL_SHARES)),  # type: ignore[arg-type]
)
@register_model(
    "padet320_small",
    PADetConfig(input_size=320, decoder_channels=64, head_std=0.01, **anchors_of(320, SMALL_SHARES)),  # type: ignore[arg-type]
)
def padet_small(config: PADetConfig, num_classes: int) -> PADet:
    """PADet with a small batch-norm network that trains from scratch on a CPU."""
    return PADet(SmallNet(), config, num_classes)
