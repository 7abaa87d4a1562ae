"""Negative anchor filtering in training: which anchors the second stage may learn from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..checks import check_choice

FILTERINGS = ("caffe", "paper", "peers", "none")


class Candidates(NamedTuple):
    """Who takes part in the second stage's loss.

    mining_labels: (B, A) int64 for `refinedet_ext.mine_hard_negatives`: > 0 trains as an object and counts for the
        quota, 0 may be mined, -1 is out.
    eligible: (B, A) bool or None, a further condition for being mined.
    """

    mining_labels: Tensor
    eligible: Tensor | None

    @property
    def positive(self) -> Tensor:
        """(B, A) bool, anchors that train as objects."""
        return self.mining_labels > 0


def filter_candidates(rule: str, labels: Tensor, kept: Tensor) -> Candidates:
    """Apply one reading of the paper's negative anchor filtering (section 3.2) to the second stage's matches.

    rule: "caffe", "paper", "peers" or "none", as `DetectorConfig.filtering` explains them.
    labels: (B, A) int64 class of each refined anchor, 0 background, -1 ignore.
    kept: (B, A) bool, false where the first stage is sure of background.
    """
    check_choice(rule, "filtering", FILTERINGS)
    if rule == "none":
        return Candidates(labels, None)
    if rule == "caffe":
        return Candidates(labels, kept)
    if rule == "paper":
        return Candidates(torch.where(kept, labels, -1), None)
    return Candidates(torch.where(labels < 0, -1, ((labels > 0) & kept).long()), None)
