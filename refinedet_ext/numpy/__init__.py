"""The box ops on NumPy arrays: the same kernels, names and meaning as the torch face, with no torch in the process."""

from __future__ import annotations

from ..checks import check_count
from ..results import Detections, KeptAnchors, Matches
from ._arrays import op as _op
from .decode_boxes import decode_boxes
from .match_anchors import match_anchors

__all__ = [
    "Detections",
    "KeptAnchors",
    "Matches",
    "decode_boxes",
    "get_num_threads",
    "match_anchors",
    "set_num_threads",
]

_set_num_threads, _get_num_threads = _op("set_num_threads"), _op("get_num_threads")


def set_num_threads(threads: int) -> None:
    """How many threads a call of this module may use, its own included; all cores by default."""
    _set_num_threads(check_count(threads, "threads", 1))


def get_num_threads() -> int:
    """How many threads a call of this module may use, its own included."""
    return _get_num_threads()
