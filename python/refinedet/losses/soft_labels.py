"""IoU-guided labels and weights of the second stage's anchors (RefineDetLite, equations 2 to 4).

t is an anchor's label (0 is background), iou the overlap of its final box with the ground truth that it answers for,
or for background the largest one with any of the image. All of them are constants: no gradient flows into the boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_target(labels: Tensor, iou: Tensor, alpha: float) -> Tensor:
    """Probability that the target gives the anchor's own label (eq. 3).

        y_t = 1 - alpha (1 - iou) of an object,    y_t = 1 - alpha iou of background

    labels: (...) int64. iou: (...) float in [0, 1]. Every other of the n classes has (1 - y_t) / (n - 1); the paper
    counts classes in two ways, and this is the one that makes them sum to 1.
    """
    # an IoU rounded to just above 1 would make the other classes' share negative
    return (1 - alpha * torch.where(labels > 0, 1 - iou, iou)).clamp(0, 1)


def anchor_weights(labels: Tensor, iou: Tensor, beta: float) -> Tensor:
    """eta = 1 / (1 + beta (iou - 1)) of an object, 1 of background (eq. 4): a badly placed object counts more.

    labels: (...) int64. iou: (...) float in [0, 1]. beta: at least 0 and below 1; 0.9 gives weights up to 10.
    """
    return torch.where(labels > 0, 1 / (1 + beta * (iou - 1)), torch.ones_like(iou))


def soft_cross_entropy(log_p: Tensor, labels: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Class-weighted divergence of each anchor's scores from its soft label (inner sum of eq. 2).

        sum over i of w_i y_i ln(y_i / p_i),    y = `target` at the label, (1 - target) / (n - 1) elsewhere

    log_p: (..., n) log-softmax. labels: (...) int64 in 0..n-1. target: (...) float in [0, 1], from `soft_target`; with
    1 this is the weighted cross entropy. class_weights: (n,), background first; None is 1 each.

    Returns (...), at least 0 with equal weights; unequal ones, as the paper puts them, shift the scores that a soft
    label asks for towards the heavier classes, and the least value below 0. The label of n entries is never written
    out.
    """
    own = log_p.gather(-1, labels[..., None])[..., 0]
    if class_weights is None:
        class_weights = log_p.new_ones(log_p.shape[-1])
    class_weights = class_weights.to(log_p.dtype)
    own_weight, total, weighted = class_weights[labels], class_weights.sum(), log_p @ class_weights
    rest = (1 - target) / (log_p.shape[-1] - 1)
    at_label = own_weight * (torch.xlogy(target, target) - target * own)
    elsewhere = torch.xlogy(rest, rest) * (total - own_weight) - rest * (weighted - own_weight * own)
    return at_label + elsewhere
