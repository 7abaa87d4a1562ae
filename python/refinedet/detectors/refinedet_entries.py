"""The registry's RefineDet models."""

from __future__ import annotations

from dataclasses import replace

from ..backbones import VGG16, SmallNet
from ..registry import register_model
from .refinedet import RefineDet, RefineDetConfig

PAPER = RefineDetConfig()
# smaller objects than the paper's, and two squares a cell: more positives, so that few iterations teach more
SMALL = RefineDetConfig(
    anchor_sizes=(24, 48, 96, 192),
    anchor_max_sizes=(48, 96, 192, 384),
    tcb_channels=64,
    tcb_norm="batch",
    head_std=0.01,
)


@register_model("refinedet320_vgg16", replace(PAPER, input_size=320))
@register_model("refinedet512_vgg16", replace(PAPER, input_size=512))
def refinedet_vgg16(config: RefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with VGG-16, as in the paper."""
    return RefineDet(VGG16(), config, num_classes, source_scales=(10, 8, None, None))


@register_model("refinedet192_small", replace(SMALL, input_size=192))
@register_model("refinedet256_small", replace(SMALL, input_size=256))
@register_model("refinedet320_small", replace(SMALL, input_size=320))
def refinedet_small(config: RefineDetConfig, num_classes: int) -> RefineDet:
    """RefineDet with a small batch-norm network that trains from scratch on a CPU."""
    return RefineDet(SmallNet(), config, num_classes)
