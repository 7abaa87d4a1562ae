"""The whole inference tail in one call."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import _library
from ..checks import (
    Dim,
    check_clip_to,
    check_floating,
    check_range,
    check_same_device,
    check_shape,
    check_suppression,
    check_variances,
)
from ..defaults import (
    IOU_THRESHOLD,
    KEEP_TOP_K,
    METHOD,
    MIN_SCORE,
    SCORE_THRESHOLD,
    SIGMA,
    THETA,
    TOP_K,
    TOP_K_PER_CLASS,
    VARIANCES,
)
from ..results import Detections
from ._boxes import are_default, one_dtype, promoted
from ._suppression import given

_op = _library.op("detect")

_TABLES = ("arm_logits", "arm_deltas", "odm_logits", "odm_deltas", "anchors")
_SHAPES: tuple[tuple[Dim, ...], ...] = (("B", "A", 2), ("B", "A", 4), ("B", "A", "1 + C"), ("B", "A", 4), ("A", 4))


def detect(
    arm_logits: Tensor,
    arm_deltas: Tensor,
    odm_logits: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    *,
    theta: float = THETA,
    variances: tuple[float, float, float, float] = VARIANCES,
    clip_to: tuple[float, float] | None = None,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> Detections:
    """Detections from what both stages of a detector put out, in one pass over the anchors.

    The same as `filter_anchors`, `decode_cascade`, the softmax of odm_logits without its background column and
    `multiclass_nms` one after another, but nothing is computed for an anchor that the first stage sorts out or whose
    class logits cannot give a score above score_threshold.

    The settings of the paper's released code are top_k_per_class=1000, top_k=None, keep_top_k=500; its text has
    top_k=400, keep_top_k=200.

    Args:
        arm_logits: (B, A, 2) float, background then object, of the anchor refinement module.
        arm_deltas: (B, A, 4) float, what moves the anchors.
        odm_logits: (B, A, 1 + C) float, background first, of the object detection module.
        odm_deltas: (B, A, 4) float, what moves the refined anchors.
        anchors: (A, 4) float, (x1, y1, x2, y2) in any one unit.
        theta: in [0, 1]; an anchor whose background confidence in the first stage is above it is left out.
        variances: what both stages' deltas were divided by.
        clip_to: (width, height) in the anchors' unit to clip the detections to, after the suppression; None: no
            clipping.
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score: as in
            `multiclass_nms`.

    Returns:
        Detections: boxes (B, keep_top_k, 4), scores (B, keep_top_k), labels (B, keep_top_k) int64 in 1..C, by falling
        score, and count (B,) int64; behind count everything is 0. The inputs are promoted to one dtype; float16 and
        bfloat16 are computed in float32, and boxes and scores are then float32. Probabilities below 1e-38 of an
        anchor's largest count as 0 in float32. An anchor with NaN among its logits gives no detection. Not
        differentiable.

    Raises:
        TypeError: for a dtype that is not floating or a setting of the wrong type.
        ValueError: for shapes, devices or settings that do not fit.

    Note:
        On a GPU the results are the CPU's to the bit, the host is never waited for and the call can be captured in a
        CUDA graph; float64 is for the CPU. Scratch memory is as in `multiclass_nms`, and 8 bytes per anchor.

    Source:
        RefineDet (Zhang et al. 2018), sections 3.2, 3.3 and 3.4 (inference).

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
        >>> arm_logits = torch.tensor([[[0.0, 2.0], [9.0, 0.0]]])
        >>> odm_logits = torch.tensor([[[0.0, 0.0, 9.0], [0.0, 9.0, 0.0]]])
        >>> deltas = torch.zeros(1, 2, 4)
        >>> found = detect(arm_logits, deltas, odm_logits, deltas, anchors, keep_top_k=2)
        >>> found.boxes[0], found.labels, found.count
        (tensor([[ 0.,  0., 10., 10.],
                [ 0.,  0.,  0.,  0.]]), tensor([[2, 0]]), tensor([1]))
    """
    theta = check_range(theta, "theta", 0.0, 1.0)
    settings = given(
        check_suppression(score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score)
    )
    if settings or clip_to is not None or not are_default(variances) or theta != THETA:
        settings = (theta, check_variances(variances), check_clip_to(clip_to), *settings)
    tables: tuple[Tensor, ...] = (arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)
    if not one_dtype(*tables):
        _check(*tables)
        tables = promoted(*tables)
    try:
        return Detections._make(_op(*tables, *settings))
    except (RuntimeError, TypeError) as error:
        _check(*tables)
        _library.drop_location(error)
        raise


def _check(*tables: Tensor) -> None:
    sizes: dict[str, int] = {}
    for name, shape, table in zip(_TABLES, _SHAPES, tables, strict=True):
        check_floating(table, name)
        check_shape(table, name, shape, sizes)
    odm_logits = tables[2]
    if odm_logits.shape[2] < 1:
        raise ValueError(f"odm_logits: expected shape (B, A, 1 + C), got {tuple(odm_logits.shape)}")
    check_same_device(**dict(zip(_TABLES, tables, strict=True)))


@_library.register_fake("detect")
def _fake(
    arm_logits: Tensor,
    arm_deltas: Tensor,
    odm_logits: Tensor,
    odm_deltas: Tensor,
    anchors: Tensor,
    theta: float = THETA,
    variances: Sequence[float] = VARIANCES,
    clip_to: list[float] | None = None,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    top_k_per_class: int | None = TOP_K_PER_CLASS,
    top_k: int | None = TOP_K,
    keep_top_k: int = KEEP_TOP_K,
    method: str = METHOD,
    sigma: float = SIGMA,
    min_score: float = MIN_SCORE,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(arm_logits, arm_deltas, odm_logits, odm_deltas, anchors)
    check_range(theta, "theta", 0.0, 1.0)
    check_variances(variances)
    check_clip_to(clip_to)
    check_suppression(score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score)
    batch = arm_logits.shape[0]
    dtype = torch.float64 if arm_logits.dtype == torch.float64 else torch.float32
    return (
        arm_logits.new_empty(batch, keep_top_k, 4, dtype=dtype),
        arm_logits.new_empty(batch, keep_top_k, dtype=dtype),
        arm_logits.new_empty(batch, keep_top_k, dtype=torch.int64),
        arm_logits.new_empty(batch, dtype=torch.int64),
    )


_library.register_not_differentiable("detect", floating=True)
_library.register_vmap("detect", images={0: 3, 1: 3, 2: 3, 3: 3})
