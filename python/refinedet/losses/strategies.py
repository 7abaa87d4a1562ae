"""The options of the loss beyond RefineDet's own: the training strategies of RefineDetLite, and the focal loss."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import check_choice, check_range
from .class_weights import check_class_weighting

BOX_LOSSES = ("smooth_l1", "giou")
CLASS_LOSSES = ("cross_entropy", "focal")
BALANCES = ("fixed", "uncertainty")
NORMALIZERS = ("positives", "sampled")


@dataclass(frozen=True)
class LossStrategies:
    """How the terms of `MultiBoxLoss` are made; the defaults are RefineDet's, any combination may be switched on.

    box_loss: "smooth_l1" of the encoded boxes, or "giou", 1 - GIoU of the decoded ones, in both stages.
    cls_loss: "cross_entropy" of positives and mined negatives, or "focal": no mining, all negatives, in both stages.
    focal_gamma, focal_alpha: of the focal loss; alpha None weighs objects and background alike.
    soft_label_alpha: how much of the second stage's labels follows the overlap of the final boxes (RefineDetLite,
        eq. 3; 0.25 in the paper); 0 keeps them hard.
    anchor_weight_beta: how much more a badly placed object weighs in the second stage's classification (eq. 4; 0.9 in
        the paper); 0 weighs all alike.
    class_weights: weights of the foreground classes in the second stage, background has 1 (eq. 2). "data": eq. 5 on
        the counts of the training set, which `refinedet train` fills in; None: 1 each.
    class_weight_largest, class_weight_gamma: W and gamma of eq. 5, for "data".
    task_balance: "fixed", all terms weigh 1, or "uncertainty", four trained weights (eq. 6).
    normalizer: what the classification terms are divided by: the "positives" of the batch, as the box terms, or all
        "sampled" anchors.
    """

    box_loss: str = "smooth_l1"
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
        check_choice("box_loss", self.box_loss, BOX_LOSSES)
        check_choice("cls_loss", self.cls_loss, CLASS_LOSSES)
        check_range("focal_gamma", self.focal_gamma, 0, 100)
        if self.focal_alpha is not None:
            check_range("focal_alpha", self.focal_alpha, 0, 1)
        check_range("soft_label_alpha", self.soft_label_alpha, 0, 1)
        check_range("anchor_weight_beta", self.anchor_weight_beta, 0, 1)
        if self.anchor_weight_beta == 1:
            raise ValueError("anchor_weight_beta: expected a number from 0 to below 1, got 1")
        check_class_weighting(self.class_weight_largest, self.class_weight_gamma)
        check_choice("task_balance", self.task_balance, BALANCES)
        check_choice("normalizer", self.normalizer, NORMALIZERS)
        weights = self.class_weights
        if isinstance(weights, str):
            check_choice("class_weights", weights, ("data",))
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
