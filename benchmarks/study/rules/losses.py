"""The terms of the training loss, each of single anchors.

- box loss: smooth L1 of deltas against the encoded ground truth, 0.5 z^2 below 1, else |z| - 0.5, summed over the four;
  or 1 - GIoU, GIoU = IoU - (hull - union) / hull.
- classification: softmax cross entropy; with weights or soft labels (RefineDetLite, equations 2 to 4) eta times the sum
  over the classes of w_i y_i ln(y_i / p_i), with y = 1 - alpha (1 - IoU) at an object's label, 1 - alpha IoU at
  background's, (1 - y) / (n - 1) elsewhere, and eta = 1 / (1 + beta (IoU - 1)) of an object, 1 of background;
  or the focal loss, alpha_t (1 - p_t)^gamma times the cross entropy.
- class weights (equation 5): (W - 1) (r^gamma - 1) / (r_max^gamma - 1) + 1 with r = most frequent / own count. A class
  without a box gets W.
- balance (equation 6): sum of e^-s L + s / 2, with half of L for the boxes; s within -5..5.
"""

from __future__ import annotations

import math
from typing import Any

from .coding import encode
from .geometry import Box, area, hull, iou, shared


def run(given: dict[str, Any]) -> dict[str, Any]:
    of = given["of"]
    if of == "smooth_l1":
        return {"loss": smooth_l1_boxes(given["deltas"], given["anchors"], given["boxes"], given["variances"])}
    if of == "cross_entropy":
        rows = zip(given["logits"], given["labels"], strict=True)
        return {"loss": [cross_entropy(logits, label) for logits, label in rows]}
    if of == "focal":
        rows = zip(given["logits"], given["labels"], strict=True)
        options = given["gamma"], given["alpha"]
        return {"loss": [cross_entropy(x, label) * focal_factor(x, label, *options) for x, label in rows]}
    if of == "giou":
        return {"loss": [1 - giou(a, b) for a, b in zip(given["boxes"], given["others"], strict=True)]}
    if of == "guided":
        return guided_rows(given)
    if of == "class_weights":
        return {"weights": class_weights(given["counts"], given["largest"], given["gamma"])}
    return {"loss": balance(given["terms"], given["log_variances"])}


def smooth_l1(z: float) -> float:
    return 0.5 * z * z if abs(z) < 1 else abs(z) - 0.5


def smooth_l1_boxes(deltas: list[list[float]], anchors: list[Box], boxes: list[Box], variances: list[float]) -> float:
    total = 0.0
    for row, anchor, box in zip(deltas, anchors, boxes, strict=True):
        for delta, wanted in zip(row, encode(box, anchor, variances), strict=True):
            total += smooth_l1(delta - wanted)
    return total


def giou(a: Box, b: Box) -> float:
    """Equal to the IoU where the smallest box around both has no area."""
    around = area(hull(a, b))
    union = area(a) + area(b) - shared(a, b)
    return iou(a, b) - ((around - union) / around if around > 0 else 0.0)


def log_softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    total = math.log(sum(math.exp(value - top) for value in logits)) + top
    return [value - total for value in logits]


def cross_entropy(logits: list[float], label: int) -> float:
    return -log_softmax(logits)[label]


def focal_factor(logits: list[float], label: int, gamma: float, alpha: float | None) -> float:
    weight = 1.0 if alpha is None else alpha if label > 0 else 1 - alpha
    return weight * (1 - math.exp(log_softmax(logits)[label])) ** gamma


def own_probability(label: int, overlap: float, alpha: float) -> float:
    return 1 - alpha * (1 - overlap) if label > 0 else 1 - alpha * overlap


def anchor_weight(label: int, overlap: float, beta: float) -> float:
    return 1 / (1 + beta * (overlap - 1)) if label > 0 else 1.0


def guided(
    logits: list[float], label: int, overlap: float, alpha: float, beta: float, weights: list[float] | None
) -> float:
    """weights: of all classes, background first."""
    log_p = log_softmax(logits)
    own = own_probability(label, overlap, alpha)
    total = 0.0
    for i, value in enumerate(log_p):
        y = own if i == label else (1 - own) / (len(logits) - 1)
        if y > 0:  # 0 ln 0 = 0
            total += (1.0 if weights is None else weights[i]) * y * (math.log(y) - value)
    return anchor_weight(label, overlap, beta) * total


def guided_rows(given: dict[str, Any]) -> dict[str, Any]:
    target, weight, loss = [], [], []
    for logits, label, overlap in zip(given["logits"], given["labels"], given["overlaps"], strict=True):
        target.append(own_probability(label, overlap, given["alpha"]))
        weight.append(anchor_weight(label, overlap, given["beta"]))
        loss.append(guided(logits, label, overlap, given["alpha"], given["beta"], given["class_weights"]))
    return {"target": target, "weight": weight, "loss": loss}


def class_weights(counts: list[int], largest: float, gamma: float) -> list[float]:
    most = max(counts)
    rarest = max(((most / count) ** gamma for count in counts if count), default=1.0)
    weights = []
    for count in counts:
        if count == most:
            weights.append(1.0)
        elif not count:
            weights.append(largest)
        else:
            weights.append((largest - 1) / (rarest - 1) * ((most / count) ** gamma - 1) + 1)
    return weights


def balance(terms: dict[str, float], log_variances: dict[str, float]) -> float:
    """Terms that no anchor contributed to are not among `terms`, nor their s / 2 in the sum."""
    total = 0.0
    for name, loss in terms.items():
        s = min(max(log_variances[name], -5.0), 5.0)
        total += math.exp(-s) * loss * (0.5 if name.endswith("_loc") else 1.0) + s / 2
    return total
