"""Both stages' deltas to boxes in one pass, on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_dtype, check_kept, check_shape, check_variances
from ..defaults import VARIANCES
from ..results import KeptAnchors
from ._arrays import as_array, contiguous, floating, op

_decode_cascade = op("decode_cascade")


def decode_cascade(
    arm_deltas: ArrayLike,
    odm_deltas: ArrayLike,
    anchors: ArrayLike,
    variances: tuple[float, float, float, float] = VARIANCES,
    *,
    kept: KeptAnchors | None = None,
) -> NDArray[Any]:
    """As `refinedet_ext.decode_cascade`, on arrays.

    Args:
        arm_deltas, odm_deltas: (B, A, 4).
        anchors: (A, 4) or (B, A, 4).
        variances: as there.
        kept: what `filter_anchors` of this module returned; None decodes all.

    Returns:
        (B, A, 4) of the promoted dtype; the rows that `kept` leaves out are 0.

    Raises:
        TypeError: for dtypes that do not fit.
        ValueError: for shapes or variances that do not fit, and for a `kept` that names rows which do not exist.

    Example:
        >>> decode_cascade([[[1.0, 0.0, 0.0, 0.0]]], [[[1.0, 1.0, 0.0, 0.0]]], [[0.0, 0.0, 10.0, 10.0]])
        array([[[ 2.,  1., 12., 11.]]], dtype=float32)
    """
    sizes: dict[str, int] = {}
    arm, odm = floating(arm_deltas, "arm_deltas"), floating(odm_deltas, "odm_deltas")
    boxes = floating(anchors, "anchors")
    for name, array in (("arm_deltas", arm), ("odm_deltas", odm)):
        check_shape(array, name, ("B", "A", 4), sizes)
    check_shape(boxes, "anchors", ("B", "A", 4) if boxes.ndim == 3 else ("A", 4), sizes)
    index = count = None
    if kept is not None:
        check_kept(kept)
        index, count = as_array(kept[0], "kept.index"), as_array(kept[1], "kept.count")
        check_dtype(index, "kept.index", "int64")
        check_dtype(count, "kept.count", "int64")
        check_shape(index, "kept.index", ("B", "A"), sizes)
        check_shape(count, "kept.count", ("B",), sizes)
        index, count = contiguous(index, np.int64), contiguous(count, np.int64)
    dtype = np.result_type(arm.dtype, odm.dtype, boxes.dtype)
    arm, odm, boxes = (contiguous(array, dtype) for array in (arm, odm, boxes))
    return _decode_cascade(arm, odm, boxes, index, count, check_variances(variances))
