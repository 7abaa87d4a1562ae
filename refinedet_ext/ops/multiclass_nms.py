"""Detections of a batch from boxes and class scores."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import _library
from ..checks import check_floating, check_same_device, check_shape, check_suppression
from ..defaults import IOU_THRESHOLD, KEEP_TOP_K, METHOD, MIN_SCORE, SCORE_THRESHOLD, SIGMA, TOP_K, TOP_K_PER_CLASS
from ..results import Detections
from ._suppression import given

_op = _library.op("multiclass_nms")


def multiclass_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> Detections:
    """At most `keep_top_k` detections per image, padded to exactly so many rows.

    Per image: drops the scores that are not above score_threshold, keeps the best top_k_per_class of each class and of
    these the best top_k of the image, suppresses overlapping boxes of the same class, and keeps the best keep_top_k.
    Equal scores: the lower class first, then the lower anchor.

    Args:
        boxes: (B, A, 4) float, (x1, y1, x2, y2) in any unit, shared by the classes.
        scores: (B, A, C) float, probabilities of the foreground classes, without the background. A slice of a table
            that has a background column (``probabilities[..., 1:]``) is read in place, without a copy.
        score_threshold: any number.
        iou_threshold: in [0, 1]; read by "hard" and "linear".
        top_k_per_class: at least 1, or None for no limit.
        top_k: at least 1, or None for no limit.
        keep_top_k: at least 0.
        method: "hard" drops a box whose IoU with a better kept one is above iou_threshold. The soft methods (Bodla et
            al. 2017) multiply its score instead, and drop it below min_score: "linear" by 1 - IoU where that is above
            iou_threshold, "gaussian" by exp(-IoU^2 / sigma).
        sigma: positive; read by "gaussian".
        min_score: at least 0; read by the soft methods.

    Returns:
        Detections: boxes (B, keep_top_k, 4) of the dtype of boxes, scores (B, keep_top_k) of the dtype of scores,
        labels (B, keep_top_k) int64 in 1..C, by falling score, and count (B,) int64; behind count everything is 0. IoUs
        and decayed scores are computed in float32, or in float64 where boxes or scores are. A negative side counts as
        zero; a box without area or with NaN overlaps nothing; a NaN score is dropped. Not differentiable.

    Raises:
        TypeError: for a dtype that is not floating or a setting of the wrong type.
        ValueError: for shapes, devices or settings that do not fit.

    Note:
        On a GPU the results are the CPU's to the bit, the host is never waited for and the call can be captured in a
        CUDA graph; float64 is for the CPU. Scratch memory there is at most half a megabyte an image where min(top_k, A
        * C) is at most 1024 and top_k_per_class cannot bind (it is None, or at least top_k or A), else about 8 bytes
        per score.

    Source:
        Soft suppression: Bodla et al. 2017.

    Example:
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]]])
        >>> scores = torch.tensor([[[0.9, 0.2], [0.8, 0.0], [0.0, 0.7]]])
        >>> found = multiclass_nms(boxes, scores, keep_top_k=4)
        >>> found.labels, found.scores, found.count
        (tensor([[1, 2, 2, 0]]), tensor([[0.9000, 0.7000, 0.2000, 0.0000]]), tensor([3]))
    """
    settings = check_suppression(
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score
    )
    try:
        return Detections._make(_op(boxes, scores, *given(settings)))
    except (RuntimeError, TypeError) as error:
        _check(boxes, scores)
        _library.drop_location(error)
        raise


def _check(boxes: Tensor, scores: Tensor) -> None:
    sizes: dict[str, int] = {}
    check_floating(boxes, "boxes")
    check_shape(boxes, "boxes", ("B", "A", 4), sizes)
    check_floating(scores, "scores")
    check_shape(scores, "scores", ("B", "A", "C"), sizes)
    check_same_device(boxes=boxes, scores=scores)


@_library.register_fake("multiclass_nms")
def _fake(
    boxes: Tensor,
    scores: Tensor,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(boxes, scores)
    check_suppression(score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score)
    batch = boxes.shape[0]
    return (
        boxes.new_empty(batch, keep_top_k, 4),
        scores.new_empty(batch, keep_top_k),
        boxes.new_empty(batch, keep_top_k, dtype=torch.int64),
        boxes.new_empty(batch, dtype=torch.int64),
    )


_library.register_not_differentiable("multiclass_nms", floating=True)
_library.register_vmap("multiclass_nms", images={0: 3, 1: 3})
