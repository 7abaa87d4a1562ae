"""Every op once more in plain PyTorch: the slow, obvious truth that tests and benchmarks compare with.

Same names and arguments as the ops, fewer checks. Nothing here is tuned; where a rule is easier to see in a Python
loop it is a loop. The rules that all boxes share:

- boxes are (x1, y1, x2, y2); box maths runs in float32 for float16 and bfloat16 inputs, else in the input's dtype;
- a negative side counts as zero, so that an inverted box has no area;
- an IoU is rounded to the working dtype, a threshold is compared with it in double precision;
- ties go to the lower index.
"""

from __future__ import annotations

from .boxes import box_area, box_iou, decode_boxes, decode_cascade, encode_boxes
from .feature_maps import deconv_sum, deform_align
from .losses import mined_cross_entropy, smooth_l1_box_loss
from .matching import filter_anchors, filter_anchors_mask, filter_threshold, match_anchors, mine_hard_negatives
from .suppression import batched_nms, batched_nms_padded, detect, multiclass_nms, nms, soft_nms

__all__ = [
    "batched_nms",
    "batched_nms_padded",
    "box_area",
    "box_iou",
    "decode_boxes",
    "decode_cascade",
    "deconv_sum",
    "deform_align",
    "detect",
    "encode_boxes",
    "filter_anchors",
    "filter_anchors_mask",
    "filter_threshold",
    "match_anchors",
    "mine_hard_negatives",
    "mined_cross_entropy",
    "multiclass_nms",
    "nms",
    "smooth_l1_box_loss",
    "soft_nms",
]
