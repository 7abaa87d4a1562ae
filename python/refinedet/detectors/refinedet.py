"""RefineDet: Single-Shot Refinement Neural Network for Object Detection (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

import refinedet_ext.nn as rxnn
from refinedet_ext.nn.transfer_connection_block import DECONV_KERNELS, NORMS

from ..backbones.base import Backbone
from ..checks import check_choice, check_integer
from ..heads import BoxHeads
from ..init import init_caffe, init_normal
from ..necks import TransferConnectionPyramid
from ..outputs import HeadOutputs
from .base import Detector
from .config import DetectorConfig


@dataclass(frozen=True)
class RefineDetConfig(DetectorConfig):
    """`DetectorConfig` and what belongs to RefineDet alone.

    tcb_channels: width of the transfer connection blocks.
    tcb_norm: "none" (VGG-16) or "batch" (networks with batch norm).
    deconv_kernel: 2 (released code) or 4 (the paper's figure).
    use_tcb: False puts the ODM's heads directly on the backbone's maps (ablation).
    two_step: False lets the ODM regress from the tiled anchors (ablation).
    head_std: standard deviation of the heads' first weights; None is Caffe's xavier. A small one lets the refined
        anchors start at the tiled ones and the scores at even odds, which matters in a short training from scratch.
    """

    tcb_channels: int = 256
    tcb_norm: str = "none"
    deconv_kernel: int = 2
    use_tcb: bool = True
    two_step: bool = True
    head_std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("tcb_channels", self.tcb_channels, 1)
        check_choice("tcb_norm", self.tcb_norm, NORMS)
        check_choice("deconv_kernel", self.deconv_kernel, DECONV_KERNELS)
        if self.head_std is not None and not self.head_std >= 0:
            raise ValueError(f"head_std: expected a number of at least 0 or None, got {self.head_std}")


class RefineDet(Detector):
    """The network of the paper's figure 1.

        images -> backbone -> four maps (L2Norm on some) -> ARM: object or not, coarse boxes
                                  |                            |
                                 TCBs, from the top down       | refined anchors, easy negatives out
                                  |                            v
                                  +------------------------> ODM: classes, boxes from the refined anchors

    backbone: any `Backbone`; its strides are the steps of the anchors.
    num_classes: including background.
    source_scales: per map the initial scale of an L2Norm, or None for no norm.
    """

    config: RefineDetConfig

    def __init__(
        self,
        backbone: Backbone,
        config: RefineDetConfig,
        num_classes: int,
        *,
        source_scales: Sequence[float | None] | None = None,
    ) -> None:
        steps = backbone.strides
        super().__init__(config, num_classes, steps, max(steps), two_step=config.two_step)
        channels = backbone.out_channels
        scales = source_scales or (None,) * len(channels)
        per_cell = self.anchor_generator.per_cell

        self.backbone = backbone
        self.norms = nn.ModuleList(
            nn.Identity() if scale is None else rxnn.L2Norm(width, scale)
            for width, scale in zip(channels, scales, strict=True)
        )
        self.arm = BoxHeads(channels, per_cell, num_classes=2)
        self.tcb: nn.Module = nn.Identity()
        if config.use_tcb:
            self.tcb = TransferConnectionPyramid(
                channels,
                config.tcb_channels,
                deconv_kernel=config.deconv_kernel,
                norm=config.tcb_norm,
            )
            channels = (config.tcb_channels,) * len(channels)
        self.odm = BoxHeads(channels, per_cell, num_classes)
        for new in (self.arm, self.tcb, self.odm):
            init_caffe(new)
        if config.head_std is not None:
            init_normal(self.arm, config.head_std)
            init_normal(self.odm, config.head_std)

    def head_outputs(self, images: Tensor) -> HeadOutputs:
        sources = [norm(x) for norm, x in zip(self.norms, self.backbone(images), strict=True)]
        arm_logits, arm_deltas = self.arm(sources)
        odm_logits, odm_deltas = self.odm(self.tcb(sources))
        anchors = self.anchors_for(sources, images)
        return HeadOutputs(arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)
