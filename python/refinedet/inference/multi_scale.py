"""Multi-scale testing with flips, as the "+" rows of RefineDet's tables: the scales and filters of its test code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..checks import check_choice
from ..data.image_io import resize_image
from ..evaluation.results import ImageDetections, from_padded
from ..structures import to_tensor
from .finite import detect_finite
from .voting import box_voting, soft_box_voting

if TYPE_CHECKING:
    from ..detectors import Detector

VOTINGS = ("box", "soft")


@dataclass(frozen=True)
class Pass:
    """One size that the image is resized to, and which boxes of it count.

    long, short: sides in pixels, multiples of 64; the long one lies along the image's longer side, and upright where
    the image is square. A square where both are the same.
    below: only boxes whose shorter side is less than this, in pixels of the image: what magnification is for.
    above: only boxes whose longer side is more than this.
    """

    long: int
    short: int
    below: float | None = None
    above: float | None = None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the network's input for an image of that size."""
        return (self.long, self.short) if width > height else (self.short, self.long)

    def keeps(self, boxes: np.ndarray) -> np.ndarray:
        """(N,) bool; sides count with one pixel more, as in the original code."""
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        keep = np.ones(len(boxes), bool)
        if self.below is not None:
            keep &= sides.min(axis=1, initial=np.inf) < self.below
        if self.above is not None:
            keep &= sides.max(axis=1, initial=-np.inf) > self.above
        return keep


@dataclass(frozen=True)
class MultiScale:
    """Passes, each also on the mirrored image if `flip`, merged class by class.

    Args:
        passes: the sizes that the image is looked at in, and which detections of each count.
        voting: "box" (PASCAL VOC) or "soft" (COCO).
        flip: look at the mirrored image, too.
        keep: detections per image, the best of all classes; None keeps all.
    """

    passes: tuple[Pass, ...]
    voting: str = "box"
    flip: bool = True
    keep: int | None = None

    def __post_init__(self) -> None:
        check_choice(self.voting, "voting", VOTINGS)
        if not self.passes:
            raise ValueError("passes: expected at least one")


def _square(side: int, below: float | None = None, above: float | None = None) -> Pass:
    return Pass(side, side, below, above)


_FROM_320 = (
    _square(320),
    Pass(320, 192),
    _square(192, above=32),
    _square(384, below=160),
    _square(448, below=128),
    _square(512, below=96),
    _square(576, below=64),
    _square(704, below=32),
)
_FROM_512 = (
    _square(512),
    Pass(512, 384),
    _square(256),
    _square(384),
    _square(768, below=192),
    _square(896, below=128),
)
RECIPES: dict[str, MultiScale] = {
    "320_voc": MultiScale(_FROM_320),
    "320_coco": MultiScale((*_FROM_320, _square(640, below=48)), voting="soft", keep=100),
    "512_voc": MultiScale(_FROM_512),
    "512_coco": MultiScale(
        (*_FROM_512, _square(640, below=224), _square(1024, below=96), _square(1152, below=64)),
        voting="soft",
        keep=100,
    ),
}
"""The recipes of RefineDet's test code for its two input sizes and two data sets."""


@torch.inference_mode()
def multi_scale_detections(
    model: Detector, image: np.ndarray, recipe: MultiScale | str, *, image_id: int | str = 0
) -> ImageDetections:
    """Detections of one image from all passes of a recipe, in its pixels, the best first.

    model: in eval mode; its own suppression runs in each pass. image: the image, (H, W, 3) uint8 BGR.
    recipe: or the name of one of `RECIPES`.

    Ten to twenty times the work of a single pass.
    """
    if isinstance(recipe, str):
        check_choice(recipe, "recipe", tuple(RECIPES))
        recipe = RECIPES[recipe]
    device = next(model.parameters()).device
    height, width = image.shape[:2]
    found: list[ImageDetections] = []
    for one in recipe.passes:
        resized = resize_image(image, one.size(width, height))
        for mirrored in (False, True) if recipe.flip else (False,):
            pixels = np.ascontiguousarray(resized[:, ::-1]) if mirrored else resized
            detections = detect_finite(model, to_tensor(pixels)[None].to(device))
            record = from_padded(detections, [(width, height)], [image_id])[0]
            boxes = record.boxes
            if mirrored:
                boxes = boxes.copy()
                boxes[:, [0, 2]] = width - record.boxes[:, [2, 0]]
            keep = one.keeps(boxes)
            found.append(ImageDetections(image_id, boxes[keep], record.scores[keep], record.labels[keep]))
    return merge(found, recipe, min_score=model.nms.score_threshold)


def merge(found: list[ImageDetections], recipe: MultiScale, *, min_score: float) -> ImageDetections:
    """The detections of all passes over one image as one, by voting within each class."""
    boxes, scores, labels = (
        np.concatenate([getattr(record, name) for record in found]) for name in ("boxes", "scores", "labels")
    )
    parts = []
    for label in np.unique(labels):
        own = labels == label
        if recipe.voting == "box":
            voted = box_voting(boxes[own], scores[own])
        else:
            voted = soft_box_voting(boxes[own], scores[own], min_score=min_score)
        parts.append((*voted, np.full(len(voted[1]), label)))
    if not parts:
        return ImageDetections(found[0].image_id, boxes, scores, labels)
    boxes, scores, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(-scores, kind="stable")[: recipe.keep]
    return ImageDetections(found[0].image_id, boxes[order], scores[order], labels[order])
