"""Training losses."""

from __future__ import annotations

from .balance import TaskBalance
from .class_weights import class_weights_from_counts, count_labels
from .config import LossConfig
from .filtering import FILTERINGS, filter_candidates
from .focal import focal_factor
from .giou import giou_loss, paired_giou, paired_iou
from .multibox import MultiBoxLoss
from .soft_labels import anchor_weights, soft_cross_entropy, soft_target

LossStrategies = LossConfig  # its name before it held all options of the loss

__all__ = [
    "FILTERINGS",
    "LossConfig",
    "LossStrategies",
    "MultiBoxLoss",
    "TaskBalance",
    "anchor_weights",
    "class_weights_from_counts",
    "count_labels",
    "filter_candidates",
    "focal_factor",
    "giou_loss",
    "paired_giou",
    "paired_iou",
    "soft_cross_entropy",
    "soft_target",
]
