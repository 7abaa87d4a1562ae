"""Fast ops for refinement-style single-shot detectors.

The torch face (`refinedet_ext.match_anchors`, ...) needs torch 2.11 or newer; the NumPy face
(`import refinedet_ext.numpy`) needs only NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .build_info import build_info
from .results import Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss

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
    from .ops.batched_nms import batched_nms, batched_nms_padded, nms
    from .ops.decode_boxes import decode_boxes
    from .ops.decode_cascade import decode_cascade
    from .ops.deconv_sum import deconv_sum
    from .ops.deform_align import deform_align
    from .ops.detect import detect
    from .ops.encode_boxes import encode_boxes
    from .ops.filter_anchors import filter_anchors, filter_anchors_mask
    from .ops.match_anchors import match_anchors
    from .ops.mine_hard_negatives import mine_hard_negatives
    from .ops.mined_cross_entropy import mined_cross_entropy
    from .ops.multiclass_nms import multiclass_nms
    from .ops.smooth_l1_box_loss import smooth_l1_box_loss

__all__ = [
    "Detections",
    "KeptAnchors",
    "KeptBoxes",
    "Matches",
    "MinedLoss",
    "batched_nms",
    "batched_nms_padded",
    "build_info",
    "deconv_sum",
    "decode_boxes",
    "decode_cascade",
    "detect",
    "encode_boxes",
    "filter_anchors",
    "filter_anchors_mask",
    "deform_align",
    "match_anchors",
    "mine_hard_negatives",
    "mined_cross_entropy",
    "multiclass_nms",
    "nms",
    "nn",
    "reference",
    "smooth_l1_box_loss",
]


def __getattr__(name: str) -> Any:
    if name in __all__ and not _has_torch:
        raise ImportError(
            f"refinedet_ext.{name} needs torch 2.11 or newer, which is not installed: pip install torch "
            "(without torch the box ops are in refinedet_ext.numpy)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
