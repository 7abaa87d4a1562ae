"""How scored boxes become detections: the options of the suppression, and its presets. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checks import check_choice, check_integer, check_positive, check_range

NMS_METHODS = ("hard", "linear", "gaussian")
ROWS_BEFORE_LIMIT = 4000
"""Detections of an image that a limit per class chooses from: 50 of each of COCO's 80."""


@dataclass(frozen=True)
class NMSConfig:
    """How the scored boxes of one image become detections; the arguments of `refinedet_ext.multiclass_nms`.

    Args:
        score_threshold, iou_threshold, top_k_per_class, top_k, keep_top_k, method, sigma, min_score: as there.
        keep_per_class: detections of each class of an image after the suppression; None: no limit but keep_top_k.
        hard_iou: for the soft methods: the IoU of a hard suppression before them; None: the soft one alone.
    """

    score_threshold: float = 0.01
    iou_threshold: float = 0.45
    top_k_per_class: int | None = 1000
    top_k: int | None = None
    keep_top_k: int = 500
    method: str = "hard"
    sigma: float = 0.5
    min_score: float = 0.01
    keep_per_class: int | None = None
    hard_iou: float | None = None

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold", "min_score"):
            check_range(getattr(self, name), f"nms {name}", 0, 1)
        check_choice(self.method, "nms method", NMS_METHODS)
        if self.hard_iou is not None:
            check_range(self.hard_iou, "nms hard_iou", 0, 1)
            if self.method == "hard":
                raise ValueError(f"nms hard_iou: expected None beside method 'hard', got {self.hard_iou}")
        check_positive(self.sigma, "nms sigma")
        for name in ("top_k_per_class", "top_k", "keep_top_k", "keep_per_class"):
            value = getattr(self, name)
            if value is not None or name == "keep_top_k":
                check_integer(value, f"nms {name}", 1)


# Sides of boxes are x2 - x1 in all of them. EFGRNet's released code ("efgrnet") and the soft-NMS of RefineDet's COCO
# test code ("coco") count x2 - x1 + 1, pixels for edges; without that 1 they are equal to ours. With it, 0.6% of
# EFGRNet's detections are others.
NMS_PRESETS: dict[str, NMSConfig] = {
    # RefineDet's released scripts, which produced the published numbers
    "code": NMSConfig(),
    # the text of the paper: 400 before, 200 after, over all classes
    "paper": NMSConfig(top_k_per_class=None, top_k=400, keep_top_k=200),
    # COCO: linear soft-NMS alone; whether a hard one comes before it ("hard_iou": 0.45) is not in the released code
    "coco": NMSConfig(iou_threshold=0.3, method="linear"),
    # PADet: linear soft-NMS, the best 300 of an image
    "padet": NMSConfig(iou_threshold=0.3, method="linear", keep_top_k=300),
    # EFGRNet's released code: 50 of each class; COCO's metrics look at the best 100
    "efgrnet": NMSConfig(top_k_per_class=None, keep_top_k=1000, keep_per_class=50),
}


def resolve_nms(value: str | NMSConfig | Mapping[str, Any]) -> NMSConfig:
    """An `NMSConfig` from itself, a preset's name, or a mapping with the fields that differ.

    The mapping may name the preset it starts from under "preset" (default "code"):
    `{"preset": "coco", "keep_top_k": 100}`.
    """
    if isinstance(value, NMSConfig):
        return value
    if not isinstance(value, (str, Mapping)):
        raise ValueError(f"nms: expected one of {list(NMS_PRESETS)} or a mapping of fields, got {value!r}")
    changes: dict[str, Any] = {} if isinstance(value, str) else dict(value)
    preset = value if isinstance(value, str) else changes.pop("preset", "code")
    check_choice(preset, "nms", tuple(NMS_PRESETS))
    known = [field.name for field in dataclasses.fields(NMSConfig)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"nms: unknown fields {unknown}; expected some of {known}")
    return dataclasses.replace(NMS_PRESETS[preset], **changes)
