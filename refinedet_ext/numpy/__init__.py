"""The box ops on NumPy arrays: the same kernels, names and meaning as the torch face, with no torch in the process."""

from __future__ import annotations

from ..checks import check_count
from ..results import Detections, KeptAnchors, Matches
from ._arrays import op as _op
from .batched_nms import batched_nms, nms
from .decode_boxes import decode_boxes
from .decode_cascade import decode_cascade
from .detect import detect
from .encode_boxes import encode_boxes
from .filter_anchors import filter_anchors, filter_anchors_mask
from .match_anchors import match_anchors
from .multiclass_nms import multiclass_nms

__all__ = [
    "Detections",
    "KeptAnchors",
    "Matches",
    "batched_nms",
    "decode_boxes",
    "decode_cascade",
    "detect",
    "encode_boxes",
    "filter_anchors",
    "filter_anchors_mask",
    "get_num_threads",
    "match_anchors",
    "multiclass_nms",
    "nms",
    "set_num_threads",
]

_set_num_threads, _get_num_threads = _op("set_num_threads"), _op("get_num_threads")


def set_num_threads(threads: int) -> None:
    """How many threads a call of this module may use, its own included; all cores by default.

    Args:
        threads: at least 1.

    Raises:
        TypeError: for what is not an integer.
        ValueError: for less than 1.
    """
    _set_num_threads(check_count(threads, "threads", 1))


def get_num_threads() -> int:
    """How many threads a call of this module may use, its own included."""
    return _get_num_threads()
