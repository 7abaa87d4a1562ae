"""What the networks hand to the loss and to the detection step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from refinedet_ext import _pytree


class HeadOutputs(NamedTuple):
    """The raw outputs of both stages for B images and A anchors, in the anchors' order.

    Attributes:
        arm_logits: (B, A, 2), background and object, of the first stage (anchor refinement).
        arm_deltas: (B, A, 4), box offsets relative to the tiled anchors.
        odm_logits: (B, A, num_classes), background first, of the second stage (object detection).
        odm_deltas: (B, A, 4), box offsets relative to the refined anchors.
        anchors: (A, 4) float32, (x1, y1, x2, y2) as fractions of the input's width and height.
    """

    arm_logits: Tensor
    arm_deltas: Tensor
    odm_logits: Tensor
    odm_deltas: Tensor
    anchors: Tensor


_pytree.register(HeadOutputs)


def single_stage_outputs(logits: Tensor, deltas: Tensor, anchors: Tensor) -> HeadOutputs:
    """The outputs of a detector without a first stage: an ARM that takes every anchor for an object, and moves none.

    logits (B, A, num_classes) and deltas (B, A, 4) refer to the tiled anchors.
    """
    return HeadOutputs(passing_logits(logits), torch.zeros_like(deltas), logits, deltas, anchors)


def passing_logits(logits: Tensor) -> Tensor:
    """(B, A, 2): those of a first stage that takes every anchor for an object. logits: (B, A, any) of the second."""
    background = logits.new_zeros(logits.shape[:2])
    return torch.stack([background, background + 100], dim=-1)
