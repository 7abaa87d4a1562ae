"""Soft suppression of what a hard one has left."""

from __future__ import annotations

import refinedet_ext as rx

from ..nms_config import NMSConfig


def soft_after_hard(found: rx.Detections, nms: NMSConfig, num_classes: int) -> rx.Detections:
    """The detections after the soft suppression of `nms`, as many rows as before. Nothing is read from the device.

    found: of the hard suppression, any number of rows. num_classes: including background.
    """
    # every box with the score of its own class alone; the padding has class 0, which falls away
    scores = found.scores.new_zeros(*found.scores.shape, num_classes)
    scores = scores.scatter(2, found.labels[..., None], found.scores[..., None])
    return rx.multiclass_nms(
        found.boxes,
        scores[..., 1:],
        score_threshold=nms.score_threshold,
        iou_threshold=nms.iou_threshold,
        top_k=None,
        keep_top_k=found.scores.shape[1],
        method=nms.method,
        sigma=nms.sigma,
        min_score=nms.min_score,
    )
