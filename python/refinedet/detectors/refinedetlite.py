"""RefineDetLite: A Lightweight One-stage Object Detection Framework for CPU-only Devices (Chen et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.layers import conv_bn
from ..checks import check_choice, check_integer, check_std
from ..heads import BoxHeads, LightHead
from ..init import init_caffe, init_kaiming, init_normal
from ..necks import BilinearFusion
from ..outputs import HeadOutputs
from .base import Detector
from .config import DetectorConfig

HEADS = ("light", "conv3x3")
SIZE_MULTIPLE = 64  # of the input: what lies above stride 64 rounds up


@dataclass(frozen=True)
class RefineDetLiteConfig(DetectorConfig):
    """`DetectorConfig` and what belongs to RefineDetLite alone.

    Anchors per cell: 3 as the defaults say; 5 with anchor_ratios (2, 3); 6 with anchor_max_sizes (64, 128, 256, 512)
    besides.

    Args:
        head: "light", or "conv3x3" for the paper's ablation: 3x3 predictions directly on the maps, as RefineDet has
            them, and 3x3 laterals in the fusion.
        shared_heads: one light head for the scores and the boxes of a level; False gives each its own.
        head_channels, head_inner: widths of the light heads and of their bottlenecks; the fusion has head_channels.
        head_std: standard deviation of the predictions' first weights; None is Caffe's xavier.
    """

    FREE: ClassVar[tuple[str, ...]] = ("head_std",)

    head: str = "light"
    shared_heads: bool = True
    head_channels: int = 256
    head_inner: int = 128
    head_std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.head, "head", HEADS)
        check_choice(self.shared_heads, "shared_heads", (True, False))
        check_integer(self.head_channels, "head_channels", 1)
        check_integer(self.head_inner, "head_inner", 1)
        check_std(self.head_std, "head_std")


class RefineDetLite(Detector):
    """The network of the paper's figures 1 and 3::

        images -> Res2NetLite -> maps of 20, 10, 5 and 3 cells (input 320)
                                  |
              ARM: light head, two 1x1 -> object or not, coarse boxes
                                  |                |
         fusion, from the top down:                | refined anchors, easy negatives out
         light head + bilinear upsampling          v
                                  +------------> ODM: light head, two 1x1 -> classes, boxes from the refined anchors

    A light head (figure 3a) is a 1x1 convolution beside a narrow bottleneck, summed; see `LightHead`. Losses and rules
    are RefineDet's; the paper's "++" is a training configuration of this network.

    Args:
        backbone: any `Backbone`.
        num_classes: including background.
    """

    config: RefineDetLiteConfig

    def __init__(self, backbone: Backbone, config: RefineDetLiteConfig, num_classes: int) -> None:
        # the cells share out the input evenly: 320/3 pixels each on the 3 x 3 map
        steps = (None,) * len(backbone.out_channels)
        super().__init__(config, num_classes, steps, SIZE_MULTIPLE)
        self.backbone = backbone
        fused = (config.head_channels,) * len(backbone.out_channels)
        self.arm = self._predictions(backbone.out_channels, 2)
        self.fusion = BilinearFusion([self._features(width) for width in backbone.out_channels])
        self.odm = self._predictions(fused, num_classes)
        for new in (self.arm, self.fusion, self.odm):
            init_kaiming(new)
        for conv in (*self.arm.cls, *self.arm.loc, *self.odm.cls, *self.odm.loc):
            if config.head_std is None:
                init_caffe(conv)
            else:
                init_normal(conv, config.head_std)

    def head_outputs(self, images: Tensor) -> HeadOutputs:
        sources = self.backbone(images)
        arm_logits, arm_deltas = self.arm(sources)
        odm_logits, odm_deltas = self.odm(self.fusion(sources))
        anchors = self.anchors_for(sources, images)
        return HeadOutputs(arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)

    def _features(self, width: int) -> nn.Module:
        """What a map of this width goes through in the fusion, and in the light form before a prediction."""
        if self.config.head == "conv3x3":
            return conv_bn(width, self.config.head_channels, 3)
        return LightHead(width, self.config.head_channels, self.config.head_inner)

    def _predictions(self, widths: Sequence[int], num_classes: int) -> BoxHeads:
        per_cell = self.anchor_generator.per_cell
        if self.config.head == "conv3x3":
            return BoxHeads(widths, per_cell, num_classes)
        return BoxHeads(
            (self.config.head_channels,) * len(widths),
            per_cell,
            num_classes,
            kernel_size=1,
            blocks=[self._features(width) for width in widths],
            loc_blocks=None if self.config.shared_heads else [self._features(width) for width in widths],
        )
