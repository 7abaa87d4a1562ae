"""From a model of many classes to one of some of them, without losing what their scores have learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .registry import create_model

if TYPE_CHECKING:
    from .detectors import Detector

VOC_IN_COCO: dict[str, str] = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
}
"""PASCAL VOC's classes that COCO calls otherwise; the other fourteen have the same names."""


def subsample_classes(
    model: Detector,
    class_names: Sequence[str],
    new_names: Sequence[str],
    *,
    same: Mapping[str, str] | None = None,
) -> Detector:
    """A model of `new_names` with the weights of `model`: those of its class scores row by row, the others whole.

    As RefineDet goes from COCO to PASCAL VOC before fine-tuning: for each anchor of a cell the filter of a class, and
    its bias, is that of the class it was before; the background's stays. Class weights of the loss stay with their
    classes.

    model: built by `create_model` or `load_model`. class_names: its foreground classes, label i is class_names[i - 1].
    same: for new names that `class_names` has under another one, that one, such as `VOC_IN_COCO`.

    ValueError names the classes that the model does not have.
    """
    if model.spec is None:
        raise ValueError("model: expected one that create_model built, so that it can be rebuilt")
    if len(class_names) != model.num_classes - 1:
        raise ValueError(f"class_names: expected {model.num_classes - 1} names, got {len(class_names)}")
    before = [(same or {}).get(name, name) for name in new_names]
    unknown = [name for name in before if name not in class_names]
    if unknown:
        raise ValueError(f"new_names: the model has no classes {', '.join(unknown)}")
    rows = torch.tensor([0, *(class_names.index(name) + 1 for name in before)])
    options = dict(model.spec.options)
    if isinstance(options["class_weights"], list):
        options["class_weights"] = [options["class_weights"][class_names.index(name)] for name in before]
    new = create_model(model.spec.name, len(rows), **options)
    shapes = new.state_dict()
    state = {key: _pick(key, value, model.num_classes, rows, shapes[key]) for key, value in model.state_dict().items()}
    new.load_state_dict(state)
    return new.to(next(model.parameters()).device).train(model.training)


def _pick(key: str, value: Tensor, classes: int, rows: Tensor, like: Tensor) -> Tensor:
    """Of a tensor whose first dimension counts anchors times classes, the rows of some classes of every anchor."""
    if value.shape == like.shape:
        return value
    anchors = value.shape[0] // classes
    if value.shape[0] != anchors * classes or like.shape != (anchors * len(rows), *value.shape[1:]):
        raise ValueError(f"model: cannot tell the classes in {key} of shape {tuple(value.shape)}")
    picked = value.unflatten(0, (anchors, classes))[:, rows.to(value.device)]
    return picked.flatten(0, 1)
