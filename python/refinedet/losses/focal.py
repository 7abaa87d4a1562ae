"""Focal loss (Lin et al. 2017), which RefineDet's paper names as complementary to its own filtering."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_factor(log_p: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """What the focal loss multiplies each anchor's cross entropy by: alpha_t (1 - p_t)^gamma.

    log_p: (..., n) log-softmax. labels: (...) int64, 0 background. alpha: weight of objects, background gets
    1 - alpha; None gives both 1. With gamma 0 and alpha None the factor is 1.

    Returns (...); the gradient flows through p_t, as the focal loss has it.
    """
    log_pt = log_p.gather(-1, labels[..., None])[..., 0]
    # 1 - p_t without cancellation; the floor keeps the power's gradient finite where p_t is 1 and gamma below 1
    miss = (-torch.expm1(log_pt)).clamp(min=torch.finfo(log_p.dtype).tiny ** 0.5)
    factor = miss**gamma
    return factor if alpha is None else torch.where(labels > 0, alpha * factor, (1 - alpha) * factor)
