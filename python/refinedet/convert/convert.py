"""From a foreign checkpoint's file to a model file of this package."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..backbones.checkpoint import load_strict, read_state_dict
from ..checks import check_choice
from ..data.voc import VOC_CLASSES
from ..registry import create_model
from ..weights import save_model
from . import efgrnet, refinedet_pytorch
from .keys import Converted

SOURCES: dict[str, Callable[..., Converted]] = {
    "refinedet.pytorch": refinedet_pytorch.convert,
    "efgrnet": efgrnet.convert,
}


def convert_checkpoint(
    source: str,
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    input_size: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Path:
    """Write the weights that a public implementation saved as a model file for `load_model` and the command line.

    source: one of `SOURCES`. path: its file, read with `weights_only=True`. output: ends in .safetensors.
    input_size: 320 or 512; a checkpoint does not tell; None takes the smaller one that there is. class_names: of the
    labels 1, 2, ...; None takes those of PASCAL VOC where there are 20, else the file gets none.

    The options of the model are set to what the weights expect. ValueError names keys that are missing or left over.
    """
    check_choice("source", source, tuple(SOURCES))
    converted = SOURCES[source](read_state_dict(path), input_size=input_size)
    model = create_model(converted.model, converted.num_classes, **converted.options)
    load_strict(model, converted.state, source=str(path))
    if class_names is None and converted.num_classes == len(VOC_CLASSES) + 1:
        class_names = VOC_CLASSES
    return save_model(model, output, class_names=class_names, info={"converted_from": source})
