"""Fast ops for refinement-style single-shot detectors.

The torch face (`refinedet_ext.match_anchors`, ...) needs torch 2.11 or newer; the NumPy face
(`import refinedet_ext.numpy`) needs only NumPy.

The torch face is loaded when torch is imported already, else at the first use of one of its names: who takes only the
NumPy face does not pay for torch. Who wants `torch.ops.refinedet_ext.*` and nothing else, as to run an exported
program, imports torch first.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from .build_info import build_info
from .results import Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss

__version__ = "0.2.0"

if TYPE_CHECKING:
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

# where each name of the torch face comes from, as above
_TORCH_FACE = {
    "batched_nms": ".ops.batched_nms",
    "batched_nms_padded": ".ops.batched_nms",
    "deconv_sum": ".ops.deconv_sum",
    "decode_boxes": ".ops.decode_boxes",
    "decode_cascade": ".ops.decode_cascade",
    "deform_align": ".ops.deform_align",
    "detect": ".ops.detect",
    "encode_boxes": ".ops.encode_boxes",
    "filter_anchors": ".ops.filter_anchors",
    "filter_anchors_mask": ".ops.filter_anchors",
    "match_anchors": ".ops.match_anchors",
    "mine_hard_negatives": ".ops.mine_hard_negatives",
    "mined_cross_entropy": ".ops.mined_cross_entropy",
    "multiclass_nms": ".ops.multiclass_nms",
    "nms": ".ops.batched_nms",
    "nn": "",
    "reference": "",
    "smooth_l1_box_loss": ".ops.smooth_l1_box_loss",
}

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
    "deform_align",
    "detect",
    "encode_boxes",
    "filter_anchors",
    "filter_anchors_mask",
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
    if name not in _TORCH_FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            f"refinedet_ext.{name} needs torch 2.11 or newer, which is not installed: pip install torch "
            "(without torch the box ops are in refinedet_ext.numpy)"
        )
    home = _TORCH_FACE[name]
    if home:
        value = getattr(importlib.import_module(home, __name__), name)
    else:
        value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value  # the next time nobody asks here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if sys.modules.get("torch") is not None:
    for _name in _TORCH_FACE:
        __getattr__(_name)
