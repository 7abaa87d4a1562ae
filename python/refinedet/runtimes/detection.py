"""From a network's raw outputs to detections, on NumPy arrays: `Detector.detect` without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import refinedet_ext.numpy as rxn
from refinedet_ext.results import Detections

from ..model_info import ModelInfo
from ..nms_config import ROWS_BEFORE_LIMIT, NMSConfig
from .session import RAW_OUTPUTS


def detect(outputs: Mapping[str, np.ndarray], info: ModelInfo, nms: NMSConfig) -> Detections:
    """Filter, two-step decode, score and suppress, in float32, as the model does in torch.

    outputs: those of `RAW_OUTPUTS`. Returns boxes (B, K, 4) as fractions of the input's width and height, scores
    (B, K), labels (B, K) int64 and count (B,) int64. FloatingPointError where an output is not finite.
    """
    arrays = {name: np.asarray(outputs[name], np.float32) for name in RAW_OUTPUTS}
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise FloatingPointError(f"model: its {name} hold NaN or infinity: the network overflows")
    if not info.two_step:
        arrays["arm_deltas"] = np.zeros_like(arrays["arm_deltas"])
    found = rxn.detect(
        *arrays.values(),
        theta=info.theta,
        variances=info.variances,
        score_threshold=nms.score_threshold,
        iou_threshold=nms.iou_threshold if nms.hard_iou is None else nms.hard_iou,
        top_k_per_class=nms.top_k_per_class,
        top_k=nms.top_k,
        keep_top_k=nms.keep_top_k if nms.keep_per_class is None else max(nms.keep_top_k, ROWS_BEFORE_LIMIT),
        method=nms.method if nms.hard_iou is None else "hard",
        sigma=nms.sigma,
        min_score=nms.min_score,
    )
    if nms.hard_iou is not None:
        found = _soft_after_hard(found, nms, info.num_classes)
    return found if nms.keep_per_class is None else _limit_per_class(found, nms.keep_per_class, nms.keep_top_k)


def _soft_after_hard(found: Detections, nms: NMSConfig, num_classes: int) -> Detections:
    """As `detectors.soft_after_hard`."""
    scores = np.zeros((*found.scores.shape, num_classes), np.float32)
    np.put_along_axis(scores, found.labels[..., None], found.scores[..., None], axis=2)
    return rxn.multiclass_nms(
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


def _limit_per_class(found: Detections, limit: int, rows: int) -> Detections:
    """As `detectors.per_class.limit_per_class`."""
    rows = min(rows, found.scores.shape[1])
    boxes, scores, labels = (np.zeros_like(field[:, :rows]) for field in found[:3])
    limited = Detections(boxes, scores, labels, np.zeros_like(found.count))
    for image, count in enumerate(found.count):
        own = found.labels[image, :count]
        order = np.argsort(own, kind="stable")  # by class, within it by falling score as before
        by_class = own[order]
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count) - np.searchsorted(by_class, by_class)
        kept = np.flatnonzero(rank < limit)[:rows]
        limited.count[image] = len(kept)
        for name in ("boxes", "scores", "labels"):
            getattr(limited, name)[image, : len(kept)] = getattr(found, name)[image, kept]
    return limited
