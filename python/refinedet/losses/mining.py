"""How many negatives of a stage train: hard ones by the number of positives, or all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .config import ALL, LossConfig
from .filtering import Candidates

Mine = Callable[[Tensor, float, int], tuple[Tensor, ...]]
"""Of the labels of the anchors (B, A), the negatives per positive and the least number of them of an image."""


def mine_by_rule(mine: Mine, candidates: Candidates, config: LossConfig, ratio: float | str) -> tuple[Tensor, ...]:
    """What `mine` gives for as many negatives as the rules of the config want, see there; ratio: that of the stage."""
    labels, least, if_empty = candidates.mining_labels, config.min_negatives, config.empty_batch_negatives
    everything = ratio == ALL
    quota = 0.0 if isinstance(ratio, str) else ratio
    if not everything and if_empty <= least:
        return mine(labels, quota, least)
    some = candidates.positive.any()  # an `if` would wait for the device
    anchors = labels.shape[1]  # a quota of so many takes every candidate, and nothing has to be ranked
    if everything and not max(least, if_empty):
        return mine(torch.where(some, labels, -1), quota, anchors)
    usual = mine(labels, quota, anchors if everything else least)
    pseudo = mine(labels, quota, max(least, if_empty))
    return tuple(torch.where(some, a, b) for a, b in zip(usual, pseudo, strict=True))
