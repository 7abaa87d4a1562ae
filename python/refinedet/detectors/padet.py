"""PADet: PosNeg-Balanced Anchors with Aligned Features for Single-Shot Object Detection (Tang et al. 2019).

No public implementation exists; what the paper leaves open is an option with a name or stands in a docstring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..backbones.base import Backbone
from ..backbones.layers import conv_bn
from ..checks import check_choice, check_integer, check_std
from ..heads import BoxHeads, FeatureAlignment, flatten_maps
from ..heads.feature_alignment import ALIGNMENTS
from ..init import init_kaiming, init_normal
from ..losses import LossConfig
from ..losses.multibox import Branches
from ..necks import EncoderDecoder
from ..nms_config import NMSConfig
from ..outputs import HeadOutputs, passing_logits
from .base import Detector
from .config import DetectorConfig

PROMOTIONS: dict[str, Branches] = {"both": True, "score": "cls", "box": "loc", "none": False}
"""What the anchor promotion does, and which branches it has for that, as `MultiBoxLoss` calls them."""
SCORES = ("sigmoid", "softmax")
HEAD_INITS = ("fan_in", "fan_out")
UNALIGNED = 2  # the coarsest levels have no alignment


@dataclass(frozen=True)
class PADetConfig(DetectorConfig):
    """`DetectorConfig` and what belongs to PADet alone.

    An anchor is positive from an overlap of 0.5, negative below 0.3, and its object's best one in any case, in both
    stages; the paper writes "above 0.5". Anchor sizes are SSD's shares of the input.

    The promotion's scores are trained on mined negatives, 3 for each positive; the detection stage behind them on all
    negatives that they leave, about 10 for each (odm_negative_ratio). Where nothing filters (promotion "box" or "none")
    those would be hundreds: the ablations mine there, in the one stage that classifies. The registry's small models,
    for short trainings, mine in both.

    Args:
        promotion: what the anchor promotion module does to the anchors: "both" filters them by score and moves them;
            "score" and "box" have the branch for one of the two alone; "none" leaves the module out (ablations).
        promotion_score: "sigmoid" (one logit per anchor, binary cross entropy) or "softmax" (two, as RefineDet).
        alignment: how features follow the anchors: "disentangled" (the paper's choice), "explicit", "location", "size",
            "implicit" or "none", see `FeatureAlignment`. The two coarsest levels have none.
        decoder_channels: of the decoder and the heads.
        head_init: MSRA's first weights of the heads, scaled by their inputs ("fan_in") or by their outputs ("fan_out").
            The score filters of the promotion are but six, so that by the outputs its first logits have a deviation of
            6.5, by the inputs of 1. Both train: `padet192_small` at 128 pixels, half as wide and with all negatives, by
            the paper's SGD on 320 rendered images, has a promotion loss of 13.9 and 6.6 at the tenth step and a whole
            loss of 12.4 and 12.0 after 400 steps, at the same AP.
        head_std: if given, standard deviation of the heads' first weights instead.
    """

    FREE: ClassVar[tuple[str, ...]] = ("head_init", "head_std")

    input_size: int = 384
    loss: LossConfig = LossConfig(matching="argmax", arm_neg_iou=0.3, odm_neg_iou=0.3, odm_negative_ratio="all")
    nms: str | Mapping[str, Any] | NMSConfig = "padet"
    promotion: str = "both"
    promotion_score: str = "sigmoid"
    alignment: str = "disentangled"
    decoder_channels: int = 256
    head_init: Literal["fan_in", "fan_out"] = "fan_in"
    head_std: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.promotion, "promotion", tuple(PROMOTIONS))
        check_choice(self.promotion_score, "promotion_score", SCORES)
        check_choice(self.alignment, "alignment", ALIGNMENTS)
        check_integer(self.decoder_channels, "decoder_channels", 1)
        if self.promotion in ("score", "none") and self.alignment not in ("implicit", "none"):
            raise ValueError(
                f"alignment: expected implicit or none where promotion is {self.promotion}, as there are no box "
                f"offsets to follow, got {self.alignment!r}"
            )
        if self.promotion in ("box", "none") and self.theta < 1:
            raise ValueError(f"theta: expected 1.0 where promotion is {self.promotion!r} (no filter), got {self.theta}")
        check_choice(self.head_init, "head_init", HEAD_INITS)
        check_std(self.head_std, "head_std")


class PADet(Detector):
    """The network of the paper's figure 2::

        images -> backbone E1..En -> decoder D1..Dn, D(n+1)
                                       |
                     level by level:   +-> APM: score, dx dy dw dh ----> promoted anchors (easy negatives out)
                                       |              |                          |
                                       +-> 3x3 -> FAM: features follow -> classes, boxes from the promoted anchors

    Args:
        backbone: its strides are the steps of the anchors; the decoder adds one level on top. Where that is a single
            cell, batch norm needs two images or more in training.
        num_classes: including background.
    """

    config: PADetConfig

    def __init__(self, backbone: Backbone, config: PADetConfig, num_classes: int) -> None:
        strides = backbone.strides
        branches = PROMOTIONS[config.promotion]
        super().__init__(
            config,
            num_classes,
            (*strides, None),  # the top map's cells are as large as its size says
            max(strides),
            two_step=config.promotion in ("both", "box"),
            arm=branches,
        )
        per_cell = self.anchor_generator.per_cell
        channels = (config.decoder_channels,) * len(per_cell)

        self.backbone = backbone
        self.decoder = EncoderDecoder(backbone.out_channels, config.decoder_channels)
        columns = 1 if config.promotion_score == "sigmoid" else 2
        self.apm: BoxHeads | None = None
        if branches:
            only = branches if isinstance(branches, str) else "both"
            self.apm = BoxHeads(channels, per_cell, columns, branches=only)
        self.fam = nn.ModuleList()
        if config.alignment != "none":
            self.fam.extend(
                FeatureAlignment(width, anchors, alignment=config.alignment)
                for width, anchors in zip(channels[:-UNALIGNED], per_cell, strict=False)
            )
        self.towers = nn.ModuleList(conv_bn(width, width, 3) for width in channels)
        self.detection = BoxHeads(channels, per_cell, num_classes)
        init_kaiming(self.towers)
        for heads in (self.apm, self.detection):
            if heads is None:
                continue
            if config.head_std is None:
                init_kaiming(heads, config.head_init)
            else:
                init_normal(heads, config.head_std)

    def head_outputs(self, images: Tensor) -> HeadOutputs:
        maps = self.decoder(self.backbone(images))
        anchors = self.anchors_for(maps, images)
        features = [tower(x) for tower, x in zip(self.towers, maps, strict=True)]
        logits, deltas = ([], []) if self.apm is None else self.apm.level_maps(maps)
        scores, boxes = self.detection(self._align(features, deltas or [x.new_zeros(0) for x in maps]))
        return HeadOutputs(
            self._promotion_logits(logits) if logits else passing_logits(scores),
            flatten_maps(deltas, 4) if deltas else torch.zeros_like(boxes),
            scores,
            boxes,
            anchors,
        )

    def _align(self, features: list[Tensor], deltas: list[Tensor]) -> list[Tensor]:
        aligned = [fam(x, d) for fam, x, d in zip(self.fam, features, deltas, strict=False)]
        return aligned + features[len(aligned) :]

    def _promotion_logits(self, maps: list[Tensor]) -> Tensor:
        """(B, A, 2). One logit z is the softmax of (0, z): its cross entropy is the binary one."""
        if self.config.promotion_score == "softmax":
            return flatten_maps(maps, 2)
        objects = flatten_maps(maps, 1)
        return torch.cat([torch.zeros_like(objects), objects], dim=-1)
