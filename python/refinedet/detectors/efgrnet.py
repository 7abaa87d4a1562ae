"""EFGRNet: Enriched Feature Guided Refinement Network for Object Detection (Nie et al., ICCV 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ..backbones.base import Backbone
from ..blocks import MOMENTUM, cbr
from ..checks import check_choice, check_integer, check_range, check_std
from ..heads import BoxHeads, FeatureGuidedRefinement, flatten_maps
from ..heads.feature_guided import OFFSET_SOURCES
from ..init import init_default, init_kaiming, init_normal
from ..losses import LossConfig
from ..necks import FeatureEnrichment
from ..necks.enrichment import GUIDE_INITS
from ..nms_config import NMSConfig
from ..outputs import HeadOutputs, single_stage_outputs
from .base import Detector
from .config import DetectorConfig

if TYPE_CHECKING:
    from typing_extensions import Self

HEAD_INITS = ("torch", "kaiming")
# the training rules of the released code, where they differ from the defaults
PEER_RULES: dict[str, Any] = {"matching": "argmax", "filtering": "peers", "empty_batch_negatives": 45}


@dataclass(frozen=True)
class EFGRNetConfig(DetectorConfig):
    """`DetectorConfig` and what belongs to EFGRNet alone.

    The released code's anchors are the defaults, because its weights expect them: the first size is 30, and they are
    clipped. So is its suppression: IoU 0.45, 50 detections of each class.

    Args:
        enrichment: MSCF and the objectness module; False puts the heads on the backbone's maps (ablation).
        mscf_dilations: branches of MSCF; the ablation has (1,) and (1, 2).
        cascade: two stages; False is a single stage, as SSD, whose heads stand where the ARM's do (ablation).
        offset_source: what moves the taps of the second stage's convolutions: "position" (dx and dy of the ARM), "size"
            (dw and dh), "box" (all four), "own" (the features themselves) or "dilated" (nothing).
        offset_act: whether the convolution that gives the offsets has batch norm and ReLU, as in the released code;
            False is the paper's equation 2.
        objectness: multiply the second stage's features by the ARM's objectness (equation 1).
        fgrm_channels, fgrm_dilations: of the second stage's convolutions.
        guide_init: what the enrichment multiplies the maps by at first: "random", of both signs, as in the released
            code, or "one", so that a trained backbone's features pass as they are and few iterations suffice.
        norm_momentum: share of a batch in the running statistics of the batch norms outside the backbone. The released
            code's 0.01 remembers some 100 iterations: too long for a short training.
        head_init: "torch" leaves the heads' convolutions at PyTorch's default, as the released code does unawares;
            "kaiming" is what it does to all others. Biases are zero.
        head_std: if given, standard deviation of the heads' first weights instead; see `RefineDetConfig`.
        peer_compat: the released code's training rules: matching "argmax", filtering "peers", empty_batch_negatives 45.
    """

    FREE: ClassVar[tuple[str, ...]] = ("guide_init", "norm_momentum", "head_init", "head_std", "peer_compat")

    anchor_sizes: tuple[float, ...] = (30, 64, 128, 256)
    clip_anchors: bool = True
    nms: str | Mapping[str, Any] | NMSConfig = "efgrnet"
    enrichment: bool = True
    mscf_dilations: tuple[int, ...] = (1, 2, 4)
    cascade: bool = True
    offset_source: str = "position"
    offset_act: bool = True
    objectness: bool = True
    fgrm_channels: int = 256
    fgrm_dilations: tuple[int, ...] = (5, 4, 3, 2)
    guide_init: str = "random"
    norm_momentum: float = MOMENTUM
    head_init: str = "torch"
    head_std: float | None = None
    peer_compat: bool = False

    def __post_init__(self) -> None:
        if self.peer_compat:
            for name, value in PEER_RULES.items():
                given = getattr(self.loss, name)
                if given not in (value, getattr(LossConfig, name)):
                    raise ValueError(f"{name}: expected {value!r} or nothing beside peer_compat, got {given!r}")
            object.__setattr__(self, "loss", dataclasses.replace(self.loss, **PEER_RULES))
        super().__post_init__()
        check_choice(self.offset_source, "offset_source", OFFSET_SOURCES)
        check_choice(self.guide_init, "guide_init", GUIDE_INITS)
        check_range(self.norm_momentum, "norm_momentum", 0.0, 1.0)
        check_choice(self.head_init, "head_init", HEAD_INITS)
        check_integer(self.fgrm_channels, "fgrm_channels", 1)
        for name in ("mscf_dilations", "fgrm_dilations"):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values:
                raise ValueError(f"{name}: expected one or more integers, got {values!r}")
            for value in values:
                check_integer(value, name, 1)
        if len(self.fgrm_dilations) != len(self.anchor_sizes):
            raise ValueError(
                f"fgrm_dilations: expected one for each of {len(self.anchor_sizes)} levels, got {self.fgrm_dilations}"
            )
        check_std(self.head_std, "head_std")

    def with_options(self, **options: Any) -> Self:
        """As of all configs. Where peer_compat ends, its rules that are not given are the defaults again."""
        compatible = options.get("peer_compat", self.peer_compat)
        if compatible is True:
            for name, value in PEER_RULES.items():
                if options.get(name, value) != value:
                    raise ValueError(f"{name}: expected {value!r} or nothing beside peer_compat, got {options[name]!r}")
        elif self.peer_compat:
            options = {**{name: getattr(LossConfig, name) for name in PEER_RULES}, **options}
        return super().with_options(**options)


@dataclass(frozen=True)
class EFGRNetForm:
    """The widths that go with a backbone; one entry per level, the finest first.

    channels: of the normalized maps, of MSCF's guide to the first, and of what the ARM reads.
    fused_channels, relu_first, residual_blocks: see `FeatureEnrichment`.
    tower: channels of the 1x1 convolutions before each of the ODM's heads.
    """

    channels: tuple[int, ...]
    fused_channels: tuple[int, ...]
    relu_first: tuple[bool, ...]
    residual_blocks: tuple[int, ...]
    tower: tuple[int, ...] = ()

    def scaled(self, part: int, whole: int) -> EFGRNetForm:
        """All widths times part / whole."""
        names = ("channels", "fused_channels", "tower")
        widths = {name: tuple(width * part // whole for width in getattr(self, name)) for name in names}
        return dataclasses.replace(self, **widths)


VGG_FORM = EFGRNetForm((512, 1024, 256, 256), (512, 1024, 256, 256), (True, True, False, False), (0, 0, 0, 0))
RESNET_FORM = EFGRNetForm((512, 1024, 512, 256), (256,) * 4, (False,) * 4, (2, 0, 0, 0), tower=(512, 512))
SMALL_FORM = EFGRNetForm((64, 128, 128, 128), (64, 128, 128, 128), (False,) * 4, (0, 0, 0, 0))


class EFGRNet(Detector):
    """The network of the paper's figure 2::

        images --> MSCF ------------------,
          |                               v
          |            ,-> map 1, norm -> (x) -> F1 -> ARM: objectness, boxes
          |            |                         |         |        |
          |            |                         |         v        v offsets of the taps
          |            |                         '-------> FGRM: deformable convolution -> ODM: classes, boxes
          |            |                         '--- stride 2 ---,
          |            |                                          v
          '-> backbone +-> map 2, norm -----------------------> (x) -> F2 -> ARM, FGRM, ODM
                       +-> ...                                         '--- stride 2 --- ...

    MSCF and the products (x) are the enrichment: context of the image, and objectness from the bottom up. The ODM's
    boxes start from those that the ARM refined. Its loss trains the ARM, too, through the FGRM.

    Args:
        backbone: its strides are the steps of the anchors.
        num_classes: including background.
        form: the widths.
        norms: per map what makes it fit the others, with as many channels as form.channels.
    """

    config: EFGRNetConfig

    def __init__(
        self,
        backbone: Backbone,
        config: EFGRNetConfig,
        num_classes: int,
        *,
        form: EFGRNetForm = VGG_FORM,
        norms: Sequence[nn.Module] | None = None,
    ) -> None:
        steps = backbone.strides
        super().__init__(config, num_classes, steps, max(steps), arm=config.cascade)
        per_cell = self.anchor_generator.per_cell
        channels = form.channels

        self.backbone = backbone
        self.norms = nn.ModuleList(norms or [nn.Identity() for _ in channels])
        self.enrichment: FeatureEnrichment | None = None
        if config.enrichment:
            self.enrichment = FeatureEnrichment(
                channels,
                fused_channels=form.fused_channels,
                relu_first=form.relu_first,
                residual_blocks=form.residual_blocks,
                dilations=config.mscf_dilations,
                guide_init=config.guide_init,
            )
        self.arm: BoxHeads | None = None
        self.fgrm = nn.ModuleList()
        if config.cascade:
            self.arm = BoxHeads(channels, per_cell, num_classes=2)
            self.fgrm.extend(
                FeatureGuidedRefinement(
                    width,
                    config.fgrm_channels,
                    anchors,
                    dilation=dilation,
                    offset_source=config.offset_source,
                    offset_act=config.offset_act,
                    objectness=config.objectness,
                )
                for width, anchors, dilation in zip(channels, per_cell, config.fgrm_dilations, strict=True)
            )
            channels = (config.fgrm_channels,) * len(channels)
        self.odm = _odm(channels, per_cell, num_classes, form.tower)
        for heads in (self.arm, self.odm):
            if heads is not None:
                self._init_heads(heads)
        for name, module in self.named_modules():
            if isinstance(module, nn.BatchNorm2d) and not name.startswith("backbone."):
                module.momentum = config.norm_momentum

    def _init_heads(self, heads: BoxHeads) -> None:
        for conv in (heads.cls, heads.loc):
            if self.config.head_std is not None:
                init_normal(conv, self.config.head_std)
            elif self.config.head_init == "kaiming":
                init_kaiming(conv)
            else:
                init_default(conv)

    def head_outputs(self, images: Tensor) -> HeadOutputs:
        maps = [norm(x) for norm, x in zip(self.norms, self.backbone(images), strict=True)]
        if self.enrichment is not None:
            maps = self.enrichment(images, maps)
        anchors = self.anchors_for(maps, images)
        if self.arm is None:
            logits, deltas = self.odm(maps)
            return single_stage_outputs(logits, deltas, anchors)
        arm_logits, arm_deltas = self.arm.level_maps(maps)
        guided = [block(*inputs) for block, *inputs in zip(self.fgrm, maps, arm_logits, arm_deltas, strict=True)]
        logits, deltas = self.odm(guided)
        return HeadOutputs(flatten_maps(arm_logits, 2), flatten_maps(arm_deltas, 4), logits, deltas, anchors)


def _odm(channels: Sequence[int], per_cell: Sequence[int], num_classes: int, widths: Sequence[int]) -> BoxHeads:
    """Heads behind towers of 1x1 convolutions of these widths, one tower for the classes and one for the boxes."""
    if not widths:
        return BoxHeads(channels, per_cell, num_classes)
    cls, loc = ([_tower(width, widths) for width in channels] for _ in range(2))
    for tower in (*cls, *loc):
        init_kaiming(tower)
    return BoxHeads((widths[-1],) * len(channels), per_cell, num_classes, blocks=cls, loc_blocks=loc)


def _tower(channels: int, widths: Sequence[int]) -> nn.Sequential:
    inputs = (channels, *widths[:-1])
    return nn.Sequential(*(cbr(before, width, 1) for before, width in zip(inputs, widths, strict=True)))
