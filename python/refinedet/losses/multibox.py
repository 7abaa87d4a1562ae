"""The multi-task loss of both stages (RefineDet, equation 1, with the rules of the released code)."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import refinedet_ext as rx
from refinedet_ext.defaults import VARIANCES

from ..checks import check_choice
from ..model_options import present_options
from ..outputs import HeadOutputs
from .balance import TERMS, TaskBalance
from .config import LossConfig
from .filtering import Candidates, filter_candidates
from .focal import focal_factor
from .giou import giou_loss, paired_iou
from .inputs import check_inputs
from .mining import mine_by_rule
from .soft_labels import anchor_weights, soft_cross_entropy, soft_target

Variances = tuple[float, float, float, float]
Branches = bool | Literal["cls", "loc"]
BRANCHES = (True, False, "cls", "loc")


class StageLoss(NamedTuple):
    """Sums over the batch, not yet divided, and what they were summed over."""

    cls: Tensor
    loc: Tensor
    positives: Tensor
    negatives: Tensor


class Guide(NamedTuple):
    """Of every anchor (B, A): the probability that its target gives its label, and its weight."""

    target: Tensor
    weight: Tensor


class MultiBoxLoss(nn.Module):
    """Classification and box loss of the anchor refinement (ARM) and the object detection module (ODM). ::

        L = (L_cls + L_loc of the ARM) / N_arm + (L_cls + L_loc of the ODM) / N_odm

    L_cls is the softmax cross entropy over positives and mined negatives (two classes in the ARM; with a negative ratio
    of "all" over every negative, see `LossConfig`), L_loc the smooth L1 of the encoded boxes over positives, summed
    over the 4 coordinates, N the number of positives in the batch and at least 1. The ODM's anchors are those that the
    ARM refined, matched anew; they and the ARM's scores are constants to it, so that no gradient of the ODM's loss
    enters the ARM's outputs.

    Without any positive the loss is exactly 0 (unless `min_negatives` or `empty_batch_negatives` ask for more), yet it
    depends on all outputs, so that every parameter gets a zero gradient and data-parallel ranks without an object stay
    in step.

    Args:
        config: the rules; keyword arguments change single ones, by the names of `LossConfig` ("arm_iou" and "odm_iou"
            give both of a stage's thresholds, positive from and negative below; "negative_ratio" that of both stages).
        variances, theta: of the box coding and of the negative anchor filtering, as in `DetectorConfig`.
        two_step: False lets the ODM start from the tiled anchors (the paper's ablation).
        arm: False leaves the first stage's terms out, for detectors without one, see `single_stage_outputs`; "cls" or
            "loc" leaves the other one out, for a first stage that only scores or only moves the anchors.
        strategies: another name of config.
    """

    def __init__(
        self,
        config: LossConfig | None = None,
        *,
        variances: Variances = VARIANCES,
        theta: float = 0.99,
        two_step: bool = True,
        arm: Branches = True,
        strategies: LossConfig | None = None,
        **rules: Any,
    ) -> None:
        super().__init__()
        if config is not None and strategies is not None:
            raise TypeError("config, strategies: expected one of them, got both")
        for stage in ("arm", "odm"):
            if f"{stage}_iou" in rules:
                rules[f"{stage}_pos_iou"], rules[f"{stage}_neg_iou"] = rules.pop(f"{stage}_iou")
        rules = present_options(rules)
        self.config = dataclasses.replace(config or strategies or LossConfig(), **rules)
        check_choice(arm, "arm", BRANCHES)
        self.variances, self.theta = variances, theta
        self.two_step, self.arm = two_step, arm
        self.balance = TaskBalance() if self.config.task_balance == "uncertainty" else None
        weights = self.config.class_weights
        known = None if weights is None or isinstance(weights, str) else torch.tensor([1.0, *weights])
        self.register_buffer("class_weights", known, persistent=False)
        self.class_weights: Tensor | None

    def forward(
        self,
        outputs: HeadOutputs,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_offsets: Tensor,
        gt_ignore: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch; computed in float32, also under autocast.

        Args:
            outputs: of both stages.
            gt_boxes: (G, 4) in the anchors' unit, of all images one after the other.
            gt_labels: (G,) int64 in 1..num_classes-1.
            gt_offsets: (B+1,) int64, image b owns rows gt_offsets[b]:gt_offsets[b+1].
            gt_ignore: (G,) bool, crowd boxes.

        Returns:
            Scalars by name. "total" and its parts, unweighted, "arm_cls", "arm_loc", "odm_cls", "odm_loc"; and the
            counts "arm_positives", "arm_negatives", "odm_positives", "odm_negatives" (mined) and "filtered" (anchors
            that the ARM took for background), int64.
        """
        check_inputs(outputs, gt_boxes, gt_labels, gt_offsets, gt_ignore)
        self.config.check_classes(outputs.odm_logits.shape[-1])
        with torch.autocast(gt_boxes.device.type, enabled=False):
            arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = map(_full, outputs)
            truth = (gt_offsets, gt_ignore)

            arm = _no_loss(arm_logits)
            if self.arm:
                matches = self._match("arm", anchors, gt_boxes, torch.ones_like(gt_labels), *truth)
                everyone = Candidates(matches.labels, None)
                if self.arm == "loc":
                    arm = arm._replace(positives=everyone.positive.sum())
                else:
                    arm = self._classification("arm", arm_logits, matches, everyone)
                if self.arm != "cls":
                    arm = arm._replace(loc=self._distance(arm_deltas, anchors, matches, everyone, gt_boxes))

            refined = anchors
            if self.two_step:
                refined = rx.decode_boxes(arm_deltas.detach(), anchors, self.variances)
            kept = rx.filter_anchors_mask(arm_logits.detach(), self.theta)
            matches = self._match("odm", refined, gt_boxes, gt_labels, *truth)
            candidates = filter_candidates(self.config.filtering, matches.labels, kept)
            guide = self._guide(odm_deltas, refined, matches, gt_boxes, *truth)
            odm = self._classification("odm", odm_logits, matches, candidates, guide)
            odm = odm._replace(loc=self._distance(odm_deltas, refined, matches, candidates, gt_boxes))

        terms = {
            "arm_cls": arm.cls / self._classified(arm),
            "arm_loc": arm.loc / arm.positives.clamp(min=1),
            "odm_cls": odm.cls / self._classified(odm),
            "odm_loc": odm.loc / odm.positives.clamp(min=1),
        }
        return {
            "total": self._total(terms, arm, odm),
            **terms,
            "arm_positives": arm.positives,
            "arm_negatives": arm.negatives,
            "odm_positives": odm.positives,
            "odm_negatives": odm.negatives,
            "filtered": kept.numel() - kept.count_nonzero(),
        }

    def _match(
        self,
        stage: str,
        references: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_offsets: Tensor,
        gt_ignore: Tensor | None,
    ) -> rx.Matches:
        return rx.match_anchors(
            references,
            gt_boxes,
            gt_labels,
            gt_offsets,
            positive_iou=getattr(self.config, f"{stage}_pos_iou"),
            negative_iou=getattr(self.config, f"{stage}_neg_iou"),
            force_match=self.config.matching,
            gt_ignore=gt_ignore,
        )

    def _classification(
        self, stage: str, logits: Tensor, matches: rx.Matches, candidates: Candidates, guide: Guide | None = None
    ) -> StageLoss:
        """The classification of one stage, its box loss still 0."""
        ratio = getattr(self.config, f"{stage}_negative_ratio")
        no_boxes = logits.new_zeros(())
        if self.config.cls_loss == "cross_entropy" and guide is None:

            def mine(labels: Tensor, per_positive: float, least: int) -> tuple[Tensor, ...]:
                mined = rx.mined_cross_entropy(
                    logits,
                    labels,
                    ratio=per_positive,
                    min_negatives=least,
                    eligible=candidates.eligible,
                    targets=matches.labels,
                )
                return mined.loss.sum(), mined.positives.sum(), mined.negatives.sum()

            cls, positives, negatives = mine_by_rule(mine, candidates, self.config, ratio)
            return StageLoss(cls, no_boxes, positives, negatives)

        labels = matches.labels.clamp(min=0)
        log_p = logits.log_softmax(dim=-1)
        cross_entropy = -log_p.gather(-1, labels[..., None])[..., 0]
        negative = self._negatives(cross_entropy.detach(), candidates, ratio)
        divergence = cross_entropy
        if guide is not None:
            divergence = guide.weight * soft_cross_entropy(log_p, labels, guide.target, self.class_weights)
        if self.config.cls_loss == "focal":
            gamma, alpha = self.config.focal_gamma, self.config.focal_alpha
            divergence = divergence * focal_factor(log_p, labels, gamma=gamma, alpha=alpha)
        cls = torch.where(candidates.positive | negative, divergence, 0.0).sum()
        return StageLoss(cls, no_boxes, candidates.positive.sum(), negative.sum())

    def _distance(
        self, deltas: Tensor, references: Tensor, matches: rx.Matches, candidates: Candidates, gt_boxes: Tensor
    ) -> Tensor:
        """The box loss of the positives, summed and weighted."""
        weight = self.config.box_loss_weight
        if self.config.box_loss == "giou":
            decoded = rx.decode_boxes(deltas, references, self.variances)
            distance = giou_loss(decoded, _assigned(gt_boxes, matches, deltas.dtype))
            return weight * torch.where(candidates.positive, distance, 0.0).sum()
        boxes = matches.gt_index
        if candidates.mining_labels is not matches.labels:  # the filter turned some positives into negatives
            boxes = torch.where(candidates.positive, boxes, -1)
        loss = rx.smooth_l1_box_loss(deltas, references, gt_boxes.to(deltas.dtype), boxes, self.variances)
        return weight * loss.sum()

    def _negatives(self, cross_entropy: Tensor, candidates: Candidates, ratio: float | str) -> Tensor:
        """Which anchors train as background, (B, A) bool."""
        if self.config.cls_loss == "focal":  # trains on all negatives, not on mined ones
            everyone = candidates.mining_labels == 0
            return everyone if candidates.eligible is None else everyone & candidates.eligible

        def mine(labels: Tensor, per_positive: float, least: int) -> tuple[Tensor]:
            # the ranking of a true negative is -ln p(background), because background is its target
            chosen = rx.mine_hard_negatives(
                cross_entropy, labels, ratio=per_positive, min_negatives=least, eligible=candidates.eligible
            )
            return (chosen,)

        return mine_by_rule(mine, candidates, self.config, ratio)[0]

    @torch.no_grad()
    def _guide(
        self,
        deltas: Tensor,
        references: Tensor,
        matches: rx.Matches,
        gt_boxes: Tensor,
        gt_offsets: Tensor,
        gt_ignore: Tensor | None,
    ) -> Guide | None:
        """Soft labels and weights of the second stage's anchors from the overlap of their final boxes."""
        config = self.config
        if not config.guides_classes:
            return None
        if config.class_weights is not None and self.class_weights is None:
            raise ValueError("class_weights: expected numbers by now, got 'data': only `refinedet train` fills it in")
        final = rx.decode_boxes(deltas, references, self.variances)
        own = paired_iou(final, _assigned(gt_boxes, matches, deltas.dtype))
        any_label = matches.labels.new_ones(len(gt_boxes))
        nearest = rx.match_anchors(final, gt_boxes, any_label, gt_offsets, force_match="none", gt_ignore=gt_ignore)
        overlap = torch.where(matches.labels > 0, own, nearest.iou.to(own.dtype))
        return Guide(
            soft_target(matches.labels, overlap, config.soft_label_alpha),
            anchor_weights(matches.labels, overlap, config.anchor_weight_beta),
        )

    def _classified(self, stage: StageLoss) -> Tensor:
        sampled = self.config.normalizer == "sampled"
        return (stage.positives + stage.negatives if sampled else stage.positives).clamp(min=1)

    def _total(self, terms: dict[str, Tensor], arm: StageLoss, odm: StageLoss) -> Tensor:
        if self.balance is None:
            return torch.stack(list(terms.values())).sum()
        counts = (arm.positives + arm.negatives, arm.positives, odm.positives + odm.negatives, odm.positives)
        active = {name: count > 0 for name, count in zip(TERMS, counts, strict=True)}
        if isinstance(self.arm, str):  # one branch alone
            missing = "arm_loc" if self.arm == "cls" else "arm_cls"
            active[missing] = torch.zeros_like(active[missing])
        return self.balance(terms, active)


def _no_loss(logits: Tensor) -> StageLoss:
    zero = logits.new_zeros(())
    return StageLoss(zero, zero, zero.long(), zero.long())


def _assigned(gt_boxes: Tensor, matches: rx.Matches, dtype: torch.dtype) -> Tensor:
    """The ground truth of every anchor, (B, A, 4); of anchors without one a stand-in."""
    boxes = torch.cat([gt_boxes.to(dtype), gt_boxes.new_ones(1, 4).to(dtype)])
    return boxes[matches.gt_index]  # the index -1, of anchors without ground truth, reads the last row


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
