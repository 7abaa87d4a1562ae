"""From a foreign checkpoint's file to a file of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..backbones.checkpoint import load_strict, read_state_dict
from ..checks import check_choice
from ..data import COCO_CLASSES, VOC_CLASSES
from ..registry import create_model
from ..weights import save_model
from . import efgrnet, refinedet_pytorch
from .backbones import BACKBONES, convert_backbone
from .keys import Converted

DETECTORS: dict[str, Callable[..., Converted]] = {
    "refinedet.pytorch": refinedet_pytorch.convert,
    "efgrnet": efgrnet.convert,
}
SOURCES = (*DETECTORS, *BACKBONES)
"""Whose checkpoints can be converted: detectors into model files, ImageNet classifiers into backbone files."""

KNOWN_CLASSES: dict[int, tuple[str, Sequence[str]]] = {
    len(names) + 1: (whose, names) for whose, names in (("PASCAL VOC", VOC_CLASSES), ("COCO", COCO_CLASSES))
}
"""Whose classes a model with so many, and background, is taken to have, and their names in the order of the labels."""


def convert_checkpoint(
    source: str,
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    input_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Path:
    """Write the weights that a public implementation saved as a file of this package.

    A detector's become a model file for `load_model` and the command line, a classifier's a backbone file for
    `create_model(backbone_weights=...)`, see `convert_backbone`.

    source: one of `SOURCES`. path: its file, read with `weights_only=True`. output: ends in .safetensors.
    input_size: of a detector, 320 or 512; a checkpoint does not tell; None takes the smaller one that there is.
    class_names: of a detector's labels 1, 2, ...; None takes those of PASCAL VOC where there are 20, those of COCO
    where there are 80, else the file gets none.

    The options of a model are set to what the weights expect. ValueError names keys that are missing or left over.
    """
    check_choice(source, "source", SOURCES)
    if source in BACKBONES:
        for name, value in (("input_size", input_size), ("class_names", class_names)):
            if value is not None:
                raise ValueError(f"{name}: expected nothing for {source}, which is a backbone, got {value}")
        return convert_backbone(source, path, output)
    converted = DETECTORS[source](read_state_dict(path), input_size=input_size)
    model = create_model(converted.model, converted.num_classes, **converted.options)
    load_strict(model, converted.state, source=str(path))
    if class_names is None and converted.num_classes in KNOWN_CLASSES:
        class_names = KNOWN_CLASSES[converted.num_classes][1]
    return save_model(model, output, class_names=class_names, info={"converted_from": source})
