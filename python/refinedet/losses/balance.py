"""Learned weights of the four terms of the loss (Kendall et al. 2018; RefineDetLite, equation 6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

LIMIT = 5.0
TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")


class TaskBalance(nn.Module):
    """Sums the terms with weights that are trained along with the network.

        sum over both stages of  e^-s_cls L_cls + s_cls / 2 + e^-s_loc L_loc / 2 + s_loc / 2,    s = ln(variance)

    The s start at 0, stay within [-5, 5] (outside, L = 0 would drive them off), and get no weight decay, which would
    draw them to 0.

    forward(terms, active) takes "arm_cls", "arm_loc", "odm_cls" and "odm_loc", scalars, and for each whether any
    anchor contributed; a term without any is left out together with its s/2, lest empty batches move the weights.
    """

    no_weight_decay = ("log_variance",)

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(len(TERMS)))
        factors = torch.tensor([0.5 if name.endswith("_loc") else 1.0 for name in TERMS])
        self.register_buffer("factors", factors, persistent=False)
        self.factors: Tensor

    def forward(self, terms: Mapping[str, Tensor], active: Mapping[str, Tensor]) -> Tensor:
        losses = torch.stack([terms[name] for name in TERMS])
        s = self.log_variance.clamp(-LIMIT, LIMIT).to(losses.dtype)
        balanced = self.factors.to(losses.dtype) * torch.exp(-s) * losses + 0.5 * s
        # not a product with 0: a term without anchors is 0 itself, and keeps its zero gradients
        return torch.where(torch.stack([active[name] for name in TERMS]), balanced, losses).sum()
