"""Fast ops for refinement-style single-shot detectors.

The torch face (`refinedet_ext.match_anchors`, ...) needs torch 2.11 or newer; the NumPy face
(`import refinedet_ext.numpy`) needs only NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .build_info import build_info
from .results import Detections, KeptAnchors, Matches

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    _has_torch = False
else:
    _has_torch = True

__version__ = "0.1.0"

if TYPE_CHECKING or _has_torch:
    from . import nn, reference
    from .decode_boxes import decode_boxes
    from .match_anchors import match_anchors
    from .mine_hard_negatives import mine_hard_negatives

__all__ = [
    "Detections",
    "KeptAnchors",
    "Matches",
    "build_info",
    "decode_boxes",
    "match_anchors",
    "mine_hard_negatives",
    "nn",
    "reference",
]


def __getattr__(name: str) -> Any:
    if name in __all__ and not _has_torch:
        raise ImportError(
            f"refinedet_ext.{name} needs torch 2.11 or newer, which is not installed: pip install torch "
            "(without torch the box ops are in refinedet_ext.numpy)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
