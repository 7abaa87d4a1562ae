"""The multi-task loss of both stages (RefineDet, equation 1, with the rules of the released code)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import refinedet_ext as rx

from ..checks import check_shape
from ..outputs import HeadOutputs
from .filtering import Candidates, filter_candidates

Variances = tuple[float, float, float, float]


class StageLoss(NamedTuple):
    """Sums over the batch, not yet divided, and what they were summed over."""

    cls: Tensor
    loc: Tensor
    positives: Tensor
    negatives: Tensor


class MultiBoxLoss(nn.Module):
    """Classification and box loss of the anchor refinement (ARM) and the object detection module (ODM).

        L = (L_cls + L_loc of the ARM) / N_arm + (L_cls + L_loc of the ODM) / N_odm

    L_cls is the softmax cross entropy over positives and mined negatives (two classes in the ARM), L_loc the smooth
    L1 of the encoded boxes over positives, summed over the 4 coordinates, N the number of positives in the batch
    and at least 1. The ODM's anchors are those that the ARM refined, matched anew; they and the ARM's scores are
    constants to it, so that no gradient of the ODM's loss enters the ARM's outputs.

    Without any positive the loss is exactly 0 (unless `min_negatives` or `empty_batch_negatives` ask for more), yet it
    depends on all outputs, so that every parameter gets a zero gradient and data-parallel ranks without an object stay
    in step.

    Arguments as in `DetectorConfig`; arm_iou and odm_iou are (positive from, negative below). two_step=False lets the
    ODM start from the tiled anchors (the paper's ablation). arm=False leaves the first stage's terms out, for
    detectors without one, see `single_stage_outputs`.
    """

    def __init__(
        self,
        *,
        variances: Variances = (0.1, 0.1, 0.2, 0.2),
        matching: str = "bipartite",
        arm_iou: tuple[float, float] = (0.5, 0.5),
        odm_iou: tuple[float, float] = (0.5, 0.5),
        theta: float = 0.99,
        filtering: str = "caffe",
        negative_ratio: float = 3.0,
        min_negatives: int = 0,
        empty_batch_negatives: int = 0,
        two_step: bool = True,
        arm: bool = True,
    ) -> None:
        super().__init__()
        self.variances = variances
        self.matching = matching
        self.arm_iou, self.odm_iou = arm_iou, odm_iou
        self.theta, self.filtering = theta, filtering
        self.negative_ratio, self.min_negatives = negative_ratio, min_negatives
        self.empty_batch_negatives = empty_batch_negatives
        self.two_step, self.arm = two_step, arm

    def forward(
        self,
        outputs: HeadOutputs,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        gt_offsets: Tensor,
        gt_ignore: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch; computed in float32, also under autocast.

        gt_boxes: (G, 4) in the anchors' unit, of all images one after the other.
        gt_labels: (G,) int64 in 1..num_classes-1. gt_offsets: (B+1,) int64, image b owns rows
        gt_offsets[b]:gt_offsets[b+1]. gt_ignore: (G,) bool, crowd boxes.

        Returns scalars: "total" and its parts "arm_cls", "arm_loc", "odm_cls", "odm_loc"; and the counts
        "arm_positives", "arm_negatives", "odm_positives", "odm_negatives" (mined) and "filtered" (anchors that the
        ARM took for background), int64.
        """
        _check(outputs, gt_boxes, gt_labels, gt_offsets, gt_ignore)
        with torch.autocast(gt_boxes.device.type, enabled=False):
            arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = map(_full, outputs)
            truth = (gt_offsets, gt_ignore)

            arm = _no_loss(arm_logits)
            if self.arm:
                matches = self._match(anchors, self.arm_iou, gt_boxes, torch.ones_like(gt_labels), *truth)
                everyone = Candidates(matches.labels > 0, matches.labels, None)
                arm = self._stage(arm_logits, arm_deltas, anchors, matches, everyone, gt_boxes)

            refined = anchors
            if self.two_step:
                refined = rx.decode_boxes(arm_deltas.detach(), anchors, self.variances)
            kept = rx.filter_anchors_mask(arm_logits.detach(), self.theta)
            matches = self._match(refined, self.odm_iou, gt_boxes, gt_labels, *truth)
            candidates = filter_candidates(self.filtering, matches.labels, kept)
            odm = self._stage(odm_logits, odm_deltas, refined, matches, candidates, gt_boxes)

        arm_n, odm_n = arm.positives.clamp(min=1), odm.positives.clamp(min=1)
        terms = {
            "arm_cls": arm.cls / arm_n,
            "arm_loc": arm.loc / arm_n,
            "odm_cls": odm.cls / odm_n,
            "odm_loc": odm.loc / odm_n,
        }
        return {
            "total": torch.stack(list(terms.values())).sum(),
            **terms,
            "arm_positives": arm.positives,
            "arm_negatives": arm.negatives,
            "odm_positives": odm.positives,
            "odm_negatives": odm.negatives,
            "filtered": (~kept).sum(),
        }

    def _match(
        self,
        references: Tensor,
        iou: tuple[float, float],
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
            positive_iou=iou[0],
            negative_iou=iou[1],
            force_match=self.matching,
            gt_ignore=gt_ignore,
        )

    def _stage(
        self,
        logits: Tensor,
        deltas: Tensor,
        references: Tensor,
        matches: rx.Matches,
        candidates: Candidates,
        gt_boxes: Tensor,
    ) -> StageLoss:
        """One stage; references are the boxes that its deltas refer to, (A, 4) or (B, A, 4)."""
        positive = candidates.positive
        target = matches.labels.clamp(min=0)[..., None]
        cross_entropy = -logits.log_softmax(dim=-1).gather(-1, target)[..., 0]
        negative = self._negatives(cross_entropy.detach(), candidates)
        cls = torch.where(positive | negative, cross_entropy, 0.0).sum()

        # row -1, the last one, is a stand-in for anchors without a ground truth
        boxes = torch.cat([gt_boxes.to(deltas.dtype), gt_boxes.new_ones(1, 4).to(deltas.dtype)])
        encoded = rx.encode_boxes(boxes[matches.gt_index], references, self.variances)
        distance = F.smooth_l1_loss(deltas, encoded, reduction="none").sum(dim=-1)
        loc = torch.where(positive, distance, 0.0).sum()
        return StageLoss(cls, loc, positive.sum(), negative.sum())

    def _negatives(self, cross_entropy: Tensor, candidates: Candidates) -> Tensor:
        """Which anchors train as background, (B, A) bool."""
        # the ranking of a true negative is -ln p(background), because background is its target
        negative = self._mine(cross_entropy, candidates, self.min_negatives)
        if self.empty_batch_negatives > self.min_negatives:
            pseudo = self._mine(cross_entropy, candidates, self.empty_batch_negatives)
            negative = torch.where(candidates.positive.any(), negative, pseudo)  # an `if` would wait for the device
        return negative

    def _mine(self, cross_entropy: Tensor, candidates: Candidates, min_negatives: int) -> Tensor:
        return rx.mine_hard_negatives(
            cross_entropy,
            candidates.mining_labels,
            ratio=self.negative_ratio,
            min_negatives=min_negatives,
            eligible=candidates.eligible,
        )


def _no_loss(logits: Tensor) -> StageLoss:
    zero = logits.new_zeros(())
    return StageLoss(zero, zero, zero.long(), zero.long())


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check(
    outputs: HeadOutputs,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    gt_offsets: Tensor,
    gt_ignore: Tensor | None,
) -> None:
    check_shape("arm_logits", outputs.arm_logits, ("B", "A", 2))
    images, anchors = outputs.arm_logits.shape[:2]
    check_shape("arm_deltas", outputs.arm_deltas, (images, anchors, 4))
    check_shape("odm_logits", outputs.odm_logits, (images, anchors, "C"))
    check_shape("odm_deltas", outputs.odm_deltas, (images, anchors, 4))
    check_shape("anchors", outputs.anchors, (anchors, 4))
    check_shape("gt_boxes", gt_boxes, ("G", 4))
    check_shape("gt_labels", gt_labels, (gt_boxes.shape[0],))
    check_shape("gt_offsets", gt_offsets, (images + 1,))
    if gt_ignore is not None:
        check_shape("gt_ignore", gt_ignore, (gt_boxes.shape[0],))
    classes = outputs.odm_logits.shape[-1]
    # on an accelerator the values cannot be looked at without waiting for it
    if gt_labels.device.type == "cpu" and gt_labels.numel():
        low, high = int(gt_labels.min()), int(gt_labels.max())
        if low < 1 or high >= classes:
            raise ValueError(f"gt_labels: expected classes in 1..{classes - 1}, got values from {low} to {high}")
