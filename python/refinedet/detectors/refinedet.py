"""RefineDet: Single-Shot Refinement Neural Network for Object Detection (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

import refinedet_ext.nn as rxnn
from refinedet_ext.nn.transfer_connection_block import DECONV_KERNELS, NORMS

from ..backbones.base import Backbone
from ..backbones.bottleneck import Bottleneck
from ..checks import check_choice, check_integer, check_std
from ..heads import BoxHeads
from ..init import init_caffe, init_normal
from ..necks import TransferConnectionPyramid
from ..outputs import HeadOutputs, single_stage_outputs
from .base import Detector
from .config import DetectorConfig

HEAD_BLOCKS = ("none", "bottleneck")


@dataclass(frozen=True)
class RefineDetConfig(DetectorConfig):
    """`DetectorConfig` and what belongs to RefineDet alone.

    Args:
        tcb_channels: width of the transfer connection blocks.
        tcb_norm: "none" (VGG-16) or "batch" (networks with batch norm).
        deconv_kernel: 2 (released code) or 4 (the paper's figure).
        use_tcb: False puts the second stage's heads directly on the backbone's maps (ablation).
        two_step: False lets the ODM regress from the tiled anchors (ablation).
        cascade: two stages; False is a single stage, as SSD: one set of heads, which predicts all classes from the
            tiled anchors, and one loss. theta, filtering, two_step and the rules of the ARM then have no meaning. With
            use_tcb=False it is the paper's ablation without TCBs (5.1.2), where the ARM itself predicts the classes.
        head_blocks: what stands before the two convolutions of every head, of both stages: "none" (VGG-16), or
            "bottleneck", a residual block with projection (the released code's ResNet-101; not in the paper).
        head_block_width: channels of that block's 3x3; its output has 4 times as many.
        neck_std: standard deviation of the first weights of the transfer connection blocks and head blocks; None is
            Caffe's xavier.
        head_std: standard deviation of the heads' first weights; None is Caffe's xavier. A small one lets the refined
            anchors start at the tiled ones and the scores at even odds, which matters in a short training from scratch.
    """

    FREE: ClassVar[tuple[str, ...]] = ("neck_std", "head_std")

    tcb_channels: int = 256
    tcb_norm: str = "none"
    deconv_kernel: int = 2
    use_tcb: bool = True
    two_step: bool = True
    cascade: bool = True
    head_blocks: str = "none"
    head_block_width: int = 256
    neck_std: float | None = None
    head_std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self.tcb_channels, "tcb_channels", 1)
        check_choice(self.tcb_norm, "tcb_norm", NORMS)
        check_choice(self.deconv_kernel, "deconv_kernel", DECONV_KERNELS)
        check_choice(self.head_blocks, "head_blocks", HEAD_BLOCKS)
        check_integer(self.head_block_width, "head_block_width", 1)
        check_std(self.neck_std, "neck_std")
        check_std(self.head_std, "head_std")


class RefineDet(Detector):
    """The network of the paper's figure 1::

        images -> backbone -> four maps (L2Norm on some) -> ARM: object or not, coarse boxes
                                  |                            |
                                 TCBs, from the top down       | refined anchors, easy negatives out
                                  |                            v
                                  +------------------------> ODM: classes, boxes from the refined anchors

    With ResNet-101 the released code has a bottleneck between each map and its head, in both stages (`head_blocks`);
    the TCBs take the backbone's maps before it.

    Args:
        backbone: any `Backbone`; its strides are the steps of the anchors.
        num_classes: including background.
        source_scales: per map the initial scale of an L2Norm, or None for no norm.
        size_multiple: the input's sides are multiples of it; None is the largest stride. Where a stride is larger, the
            level's last cells hang over the border, and its anchors stand the input's side over the map's side apart.
    """

    config: RefineDetConfig

    def __init__(
        self,
        backbone: Backbone,
        config: RefineDetConfig,
        num_classes: int,
        *,
        source_scales: Sequence[float | None] | None = None,
        size_multiple: int | None = None,
    ) -> None:
        multiple = size_multiple or max(backbone.strides)
        steps = tuple(stride if stride <= multiple else None for stride in backbone.strides)
        super().__init__(config, num_classes, steps, multiple, two_step=config.two_step, arm=config.cascade)
        channels = backbone.out_channels
        scales = source_scales or (None,) * len(channels)
        per_cell = self.anchor_generator.per_cell

        self.backbone = backbone
        self.norms = nn.ModuleList(
            nn.Identity() if scale is None else rxnn.L2Norm(width, scale)
            for width, scale in zip(channels, scales, strict=True)
        )
        self.arm = self._heads(channels, per_cell, 2) if config.cascade else None
        self.tcb: nn.Module = nn.Identity()
        if config.use_tcb:
            self.tcb = TransferConnectionPyramid(
                channels,
                config.tcb_channels,
                deconv_kernel=config.deconv_kernel,
                norm=config.tcb_norm,
            )
            channels = (config.tcb_channels,) * len(channels)
        self.odm = self._heads(channels, per_cell, num_classes)
        parts = [part for part in (self.arm, self.tcb, self.odm) if part is not None]
        for part in parts:
            init_caffe(part)
        if config.neck_std is not None:
            for part in parts:
                init_normal(part.blocks if isinstance(part, BoxHeads) else part, config.neck_std)
        if config.head_std is not None:
            for part in parts:
                if isinstance(part, BoxHeads):
                    init_normal(part.cls, config.head_std)
                    init_normal(part.loc, config.head_std)

    def _heads(self, channels: Sequence[int], per_cell: Sequence[int], num_classes: int) -> BoxHeads:
        """The heads of one stage, with their blocks where the config asks for them."""
        if self.config.head_blocks == "none":
            return BoxHeads(channels, per_cell, num_classes)
        mid = self.config.head_block_width
        blocks = [Bottleneck(width, mid, 4 * mid, projection=True) for width in channels]
        return BoxHeads((4 * mid,) * len(blocks), per_cell, num_classes, blocks=blocks)

    def head_outputs(self, images: Tensor) -> HeadOutputs:
        sources = [norm(x) for norm, x in zip(self.norms, self.backbone(images), strict=True)]
        anchors = self.anchors_for(sources, images)
        if self.arm is None:
            logits, deltas = self.odm(self.tcb(sources))
            return single_stage_outputs(logits, deltas, anchors)
        arm_logits, arm_deltas = self.arm(sources)
        odm_logits, odm_deltas = self.odm(self.tcb(sources))
        return HeadOutputs(arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)
