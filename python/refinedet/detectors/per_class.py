"""A limit on the detections of each class of an image."""

from __future__ import annotations

import torch
from torch import Tensor

import refinedet_ext as rx


def limit_per_class(found: rx.Detections, limit: int, rows: int) -> rx.Detections:
    """The best `limit` detections of each class of every image, and of these the best `rows`, padded to so many.

    found: by falling score, with at least `rows` rows. Nothing is read from the device.
    """
    boxes, scores, labels, _ = found
    # by class, and within it by falling score as before: the rank is the distance to the first of the class
    by_class, order = labels.sort(dim=1, stable=True)
    position = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    first = torch.ones_like(labels, dtype=torch.bool)
    first[:, 1:] = by_class[:, 1:] != by_class[:, :-1]
    start = torch.where(first, position, 0).cummax(dim=1).values
    rank = torch.zeros_like(labels).scatter(1, order, position - start)

    kept = (rank < limit) & (labels > 0)  # the padding has class 0
    front = kept.logical_not().long().argsort(dim=1, stable=True)[:, :rows]
    kept = kept.gather(1, front)

    def take(values: Tensor) -> Tensor:
        return torch.where(kept, values.gather(1, front), 0)

    corners = torch.where(kept[..., None], boxes.gather(1, front[..., None].expand(-1, -1, 4)), 0)
    return rx.Detections(corners, take(scores), take(labels), kept.sum(dim=1))
