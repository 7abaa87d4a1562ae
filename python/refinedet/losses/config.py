"""The options of the training loss: RefineDet's rules, the strategies of RefineDetLite, and the focal loss."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_choice, check_integer, check_range
from .class_weights import check_class_weighting
from .filtering import FILTERINGS

MATCHINGS = ("bipartite", "argmax", "none")
BOX_LOSSES = ("smooth_l1", "giou")
CLASS_LOSSES = ("cross_entropy", "focal")
BALANCES = ("fixed", "uncertainty")
NORMALIZERS = ("positives", "sampled")
ALL = "all"


@dataclass(frozen=True)
class LossConfig:
    """How `MultiBoxLoss` chooses anchors and makes its terms; the defaults are RefineDet's original (Caffe) rules.

    Up to empty_batch_negatives the options say which anchors train, the others what they train for; any combination may
    be switched on.

    Args:
        matching: how ground truths get an anchor whatever their overlap: "bipartite" (original), "argmax" (ports) or
            "none".
        arm_pos_iou, arm_neg_iou, odm_pos_iou, odm_neg_iou: overlap from which an anchor is positive, and below which it
            is negative, of the tiled (ARM) and the refined (ODM) anchors.
        filtering: what it means for the ODM's training that an anchor is easy background to the ARM (its confidence is
            above the detector's theta). "caffe": such negatives are not mined; "paper": neither positives nor negatives
            train; "peers": such positives lose their place and compete as negatives, with their class as target, as
            PyTorch ports have it; "none": nothing. Inference drops the anchors in all four.
        arm_negative_ratio, odm_negative_ratio: hard negatives per positive, per image, in each stage; "all": every
            negative trains, none is mined, in images without positives as well, but not in a batch without any
            positive, which has nothing to divide their sum by. `negative_ratio` gives both stages' at once.
        min_negatives: hard negatives that an image gets at least, also without positives.
        empty_batch_negatives: hard negatives of each image of a batch that has no positive at all (EFGRNet: 45).
        box_loss: "smooth_l1" of the encoded boxes, or "giou", 1 - GIoU of the decoded ones, in both stages.
        box_loss_weight: what the box terms of both stages are multiplied by. GIoU moves boxes 3 to 12 times less than
            smooth L1 of their encoded offsets, which the variances enlarge, and trains slower at 1.
        cls_loss: "cross_entropy" of positives and mined negatives, or "focal": no mining, all negatives, in both
            stages.
        focal_gamma, focal_alpha: of the focal loss; alpha None weighs objects and background alike.
        soft_label_alpha: how much of the second stage's labels follows the overlap of the final boxes (RefineDetLite,
            eq. 3; 0.25 in the paper); 0 keeps them hard.
        anchor_weight_beta: how much more a badly placed object weighs in the second stage's classification (eq. 4; 0.9
            in the paper); 0 weighs all alike.
        class_weights: weights of the foreground classes in the second stage, background has 1 (eq. 2). "data": eq. 5 on
            the counts of the training set, which `refinedet train` fills in; None: 1 each.
        class_weight_largest, class_weight_gamma: W and gamma of eq. 5, for "data".
        task_balance: "fixed", all terms weigh 1, or "uncertainty", four trained weights (eq. 6).
        normalizer: what the classification terms are divided by: the "positives" of the batch, as the box terms, or all
            "sampled" anchors.
    """

    matching: str = "bipartite"
    arm_pos_iou: float = 0.5
    arm_neg_iou: float = 0.5
    odm_pos_iou: float = 0.5
    odm_neg_iou: float = 0.5
    filtering: str = "caffe"
    arm_negative_ratio: float | str = 3.0
    odm_negative_ratio: float | str = 3.0
    min_negatives: int = 0
    empty_batch_negatives: int = 0
    box_loss: str = "smooth_l1"
    box_loss_weight: float = 1.0
    cls_loss: str = "cross_entropy"
    focal_gamma: float = 2.0
    focal_alpha: float | None = 0.25
    soft_label_alpha: float = 0.0
    anchor_weight_beta: float = 0.0
    class_weights: str | tuple[float, ...] | None = None
    class_weight_largest: float = 10.0
    class_weight_gamma: float = 0.75
    task_balance: str = "fixed"
    normalizer: str = "positives"

    def __post_init__(self) -> None:
        check_choice(self.matching, "matching", MATCHINGS)
        for name in ("arm_pos_iou", "arm_neg_iou", "odm_pos_iou", "odm_neg_iou"):
            check_range(getattr(self, name), name, 0, 1)
        for stage in ("arm", "odm"):
            low, high = getattr(self, f"{stage}_neg_iou"), getattr(self, f"{stage}_pos_iou")
            if low > high:
                raise ValueError(f"{stage}_neg_iou: expected at most {stage}_pos_iou = {high}, got {low}")
        check_choice(self.filtering, "filtering", FILTERINGS)
        for name in ("arm_negative_ratio", "odm_negative_ratio"):
            ratio = getattr(self, name)
            if isinstance(ratio, str) and ratio != ALL:
                raise ValueError(f"{name}: expected a number or {ALL!r}, got {ratio!r}")
            if ratio != ALL:
                check_range(ratio, name, 0, 1e6)
        check_integer(self.min_negatives, "min_negatives", 0)
        check_integer(self.empty_batch_negatives, "empty_batch_negatives", 0)
        check_choice(self.box_loss, "box_loss", BOX_LOSSES)
        check_range(self.box_loss_weight, "box_loss_weight", 0, 1e6)
        check_choice(self.cls_loss, "cls_loss", CLASS_LOSSES)
        check_range(self.focal_gamma, "focal_gamma", 0, 100)
        if self.focal_alpha is not None:
            check_range(self.focal_alpha, "focal_alpha", 0, 1)
        check_range(self.soft_label_alpha, "soft_label_alpha", 0, 1)
        check_range(self.anchor_weight_beta, "anchor_weight_beta", 0, 1)
        if self.anchor_weight_beta == 1:
            raise ValueError("anchor_weight_beta: expected a number from 0 to below 1, got 1")
        check_class_weighting(self.class_weight_largest, self.class_weight_gamma)
        check_choice(self.task_balance, "task_balance", BALANCES)
        check_choice(self.normalizer, "normalizer", NORMALIZERS)
        weights = self.class_weights
        if isinstance(weights, str):
            check_choice(weights, "class_weights", ("data",))
        elif weights is not None:
            if not isinstance(weights, (list, tuple)) or not weights or not all(map(_is_weight, weights)):
                raise ValueError(f"class_weights: expected non-negative numbers, 'data' or None, got {weights}")
            object.__setattr__(self, "class_weights", tuple(weights))

    def check_classes(self, num_classes: int) -> None:
        """ValueError unless the class weights are as many as the foreground classes."""
        weights = self.class_weights
        if weights is not None and not isinstance(weights, str) and len(weights) != num_classes - 1:
            raise ValueError(
                f"class_weights: expected {num_classes - 1} numbers, one per foreground class, got {len(weights)}"
            )

    @property
    def guides_classes(self) -> bool:
        """Whether the second stage's classification is anything but the plain one."""
        return bool(self.soft_label_alpha or self.anchor_weight_beta or self.class_weights is not None)


def _is_weight(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
