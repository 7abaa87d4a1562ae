"""The detection step in ONNX's standard operations: `refinedet_ext.detect` for hard suppression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from refinedet_ext import defaults
from refinedet_ext._reference_boxes import MAX_LOG_SCALE, MAX_SHIFT
from refinedet_ext.reference import filter_threshold

LEFT_OUT = -1.0  # the score of what is no candidate: below every threshold


def detect_translation(op: Any, keep_per_class: int | None) -> Callable[..., Any]:
    """The function that writes `refinedet_ext.detect` in operations of `op`.

    keep_per_class: the most detections of a class of an image, which the op itself does not know.

    Scores are compared and ties fall as in the op: by score, then class, then anchor, which is how TopK orders the
    columns of (B, C * A). Softmax, exponentials and overlaps are rounded as the runtime does it.
    """

    def detect(
        arm_logits: Any,
        arm_deltas: Any,
        odm_logits: Any,
        odm_deltas: Any,
        anchors: Any,
        theta: float = defaults.THETA,
        variances: Sequence[float] = defaults.VARIANCES,
        clip_to: Sequence[float] | None = None,
        score_threshold: float = defaults.SCORE_THRESHOLD,
        iou_threshold: float = defaults.IOU_THRESHOLD,
        top_k_per_class: int | None = defaults.TOP_K_PER_CLASS,
        top_k: int | None = defaults.TOP_K,
        keep_top_k: int = defaults.KEEP_TOP_K,
        method: str = defaults.METHOD,
        sigma: float = defaults.SIGMA,
        min_score: float = defaults.MIN_SCORE,
    ) -> tuple[Any, ...]:
        if method != "hard" or clip_to is not None:
            raise NotImplementedError(f"ONNX export has hard suppression without clipping, got {method} and {clip_to}")
        count, classes = int(odm_logits.shape[1]), int(odm_logits.shape[2]) - 1
        boxes = _decode(op, odm_deltas, _decode(op, arm_deltas, anchors, variances), variances)

        scores = op.Softmax(odm_logits, axis=-1)
        scores = op.Transpose(_columns(op, scores, 1, classes + 1), perm=[0, 2, 1])  # (B, C, A)
        margin = op.Sub(_columns(op, arm_logits, 1, 2), _columns(op, arm_logits, 0, 1))
        survives = op.GreaterOrEqual(margin, _float(op, _at_least(filter_threshold(theta))))
        survives = op.Transpose(survives, perm=[0, 2, 1])  # (B, 1, A)
        above = op.Greater(scores, _float(op, _at_most(score_threshold)))
        scores = op.Where(op.And(survives, above), scores, _float(op, LEFT_OUT))
        if top_k_per_class is not None and top_k_per_class < count:
            scores = _best(op, scores, top_k_per_class)
        if top_k is not None and top_k < classes * count:
            flat = op.Reshape(scores, _integers(op, 0, classes * count))
            scores = op.Reshape(_best(op, flat, top_k), _integers(op, 0, classes, count))

        chosen = op.NonMaxSuppression(  # (N, 3): image, class, anchor
            boxes,
            scores,
            _integers(op, count if keep_per_class is None else keep_per_class),
            op.Constant(value_floats=[_at_most(iou_threshold)]),
            op.Constant(value_floats=[0.0]),
        )
        kept = op.ScatterND(_nothing(op, scores), chosen, op.GatherND(scores, chosen))
        flat = op.Reshape(kept, _integers(op, 0, classes * count))
        if keep_top_k > classes * count:
            padding = _integers(op, 0, 0, 0, keep_top_k - classes * count)
            flat = op.Pad(flat, padding, _float(op, LEFT_OUT))
        best, place = op.TopK(flat, _integers(op, keep_top_k), axis=-1)
        found = op.Greater(best, _float(op, 0.0))
        anchor = op.Unsqueeze(op.Mod(place, _integer(op, count)), _integers(op, -1))
        corners = op.GatherND(boxes, anchor, batch_dims=1)
        return (
            op.Where(op.Unsqueeze(found, _integers(op, -1)), corners, _float(op, 0.0)),
            op.Where(found, best, _float(op, 0.0)),
            op.Where(found, op.Add(op.Div(place, _integer(op, count)), _integer(op, 1)), _integer(op, 0)),
            op.ReduceSum(op.Cast(found, to=INT64), _integers(op, -1), keepdims=0),
        )

    return detect


INT64 = 7  # onnx.TensorProto.INT64


def _decode(op: Any, deltas: Any, boxes: Any, variances: Sequence[float]) -> Any:
    """Deltas (B, A, 4) applied to boxes (A, 4) or (B, A, 4), in the order of the op's own arithmetic.

    Nothing overflows: anchors are fractions of the input, and shifts and scales are limited.
    """
    low, high = (op.Mul(_columns(op, boxes, first, first + 2), _float(op, 0.5)) for first in (0, 2))
    center, half = op.Add(low, high), op.Sub(high, low)
    scaled = op.Mul(deltas, op.Constant(value_floats=[float(number) for number in variances]))
    shift = op.Clip(_columns(op, scaled, 0, 2), _float(op, -MAX_SHIFT), _float(op, MAX_SHIFT))
    scale = op.Clip(_columns(op, scaled, 2, 4), _float(op, -MAX_LOG_SCALE), _float(op, MAX_LOG_SCALE))
    center = op.Add(center, op.Mul(op.Mul(shift, _float(op, 2.0)), half))
    half = op.Mul(half, op.Exp(scale))
    return op.Concat(op.Sub(center, half), op.Add(center, half), axis=-1)


def _best(op: Any, scores: Any, count: int) -> Any:
    """The scores with the `count` best of each row of the last axis, all others left out."""
    best, place = op.TopK(scores, _integers(op, count), axis=-1)
    return op.ScatterElements(_nothing(op, scores), place, best, axis=-1)


def _nothing(op: Any, scores: Any) -> Any:
    return op.Expand(_float(op, LEFT_OUT), op.Shape(scores))


def _columns(op: Any, values: Any, first: int, end: int) -> Any:
    """Of the last axis."""
    return op.Slice(values, _integers(op, first), _integers(op, end), _integers(op, -1))


def _float(op: Any, value: float) -> Any:
    return op.Constant(value_float=value)


def _integer(op: Any, value: int) -> Any:
    return op.Constant(value_int=value)


def _integers(op: Any, *values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _at_most(value: float) -> float:
    """The largest float32 that is not above: a float32 is above either or neither."""
    rounded = np.float32(value)
    return float(rounded if rounded <= value else np.nextafter(rounded, np.float32(-np.inf)))


def _at_least(value: float) -> float:
    """The smallest float32 that is not below."""
    return -_at_most(-value)
