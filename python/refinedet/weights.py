"""A model in one file: its weights, and what is needed to build it again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from . import tensor_file
from .backbones import backbone_file
from .backbones.checkpoint import check_fits, load_strict, read_safetensors
from .checks import check_class_names, check_integer, check_names
from .detectors.registration import ENTRIES
from .inference.finite import check_finite_weights
from .model_options import present_options
from .registry import change_options, check_options, create_model, model_entry
from .tensor_file import check_header, check_suffix, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from .detectors import Detector

FORMAT = "refinedet-model"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A model read from a file, in eval mode.

    Attributes:
        model: the detector.
        class_names: of the labels 1, 2, ...; None if the file has none.
        info: whatever `save_model` was told to keep.
    """

    model: Detector
    class_names: list[str] | None
    info: dict[str, Any] = field(default_factory=dict)


def save_model(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    info: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model of the registry with its options into one safetensors file.

    The file replaces an older one only when it is complete.

    Args:
        model: built by `create_model` or `load_model`.
        path: the file.
        class_names: one per foreground class.
        info: anything that JSON can hold, such as the step and the metrics.

    Returns:
        The path.
    """
    file = check_suffix(path)
    spec = model.spec
    if spec is None:
        raise ValueError("model: expected one that create_model built, so that it can be rebuilt")
    names = None if class_names is None else check_names(class_names, spec.num_classes)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "model": dataclasses.asdict(spec),
        **_registered_by(spec.name),
        "class_names": names,
        "info": dict(info or {}),
    }
    return write_tensors(model.state_dict(), file, header)


def _registered_by(name: str) -> dict[str, str]:
    """The module of others that registered a model."""
    module = model_entry(name).build.__module__
    return {} if module.split(".")[0] == __package__ else {"registered_by": module}


def load_model(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Checkpoint:
    """Rebuild the model of a file that `save_model` wrote.

    Args:
        path: the file.
        options: changes to the stored options that leave the weights alone, such as ``nms="coco"``: those that
            `DetectorConfig.free_options` lists.
        device: where the model goes.

    Returns:
        The model with the names of its classes.

    Raises:
        FileNotFoundError: without the file.
        ValueError: if it is something else, its weights do not fit or are not finite, or an option belongs to the
            weights and is another than theirs.
    """
    header, state = read_model(path)
    spec = header["model"]
    options = change_options(spec["name"], spec["options"], options, source=str(path))
    model = create_model(spec["name"], spec["num_classes"], **options)
    load_strict(model, state, source=str(path))
    check_finite_weights(model, f"weights: {path}")
    model.to(device).eval()
    return Checkpoint(model, header["class_names"], header["info"])


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a model file, which fit each other: ValueError before a model is made that they do not fit.

    Options that stand for more weights than the file has take no memory.
    """
    header, state = read_header(path), read_safetensors(Path(path))
    spec = header["model"]
    model = outline(spec["name"], spec["num_classes"], spec["options"], source=str(path))
    check_fits(model, state, model.state_dict(), source=str(path))
    return header, state


def outline(name: str, num_classes: int, options: Mapping[str, Any], *, source: str) -> Detector:
    """The model that a file describes, without values: on torch's meta device. ValueError if there is no such model."""
    try:
        with torch.device("meta"):
            return create_model(name, num_classes, **options)
    except (ValueError, RuntimeError) as error:  # torch's word for shapes beyond any memory
        raise ValueError(f"weights: {source} describes a model that cannot be built: {error}") from None


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file says about itself: "model" (name, num_classes, options), "class_names" and "info"."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"weights: no file {file}")
    try:
        header = tensor_file.read_header(file)
    except SafetensorError as error:
        raise ValueError(f"weights: {file} is not a safetensors file: {error}") from None
    if header.get("format") == backbone_file.FORMAT:
        raise ValueError(f"weights: {file} holds a backbone alone, for create_model(backbone_weights=...)")
    if header.get("format") != FORMAT:
        raise ValueError(f"weights: {file} was not written by refinedet.save_model")
    check_header(header, file, {"model.name": str, "model.num_classes": int, "model.options": dict, "info": dict})
    if header["version"] > VERSION:
        raise ValueError(f"weights: {file} has format version {header['version']}, this package reads up to {VERSION}")
    names, spec = header.setdefault("class_names", None), header["model"]
    if names is not None:
        try:
            if not isinstance(names, list):
                raise TypeError(f"class_names: expected a list of names, got {names!r:.80}")
            check_names(check_class_names(names), spec["num_classes"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"weights: the header of {file} is damaged: {error}") from None
    _check_registered(header, file)
    try:
        check_integer(spec["num_classes"], "num_classes", 2)
        spec["options"] = present_options(spec["options"])
        check_options(spec["name"], spec["options"])
    except ValueError as error:
        raise ValueError(f"weights: {file} describes a model that cannot be built: {error}") from None
    return header


def _check_registered(header: Mapping[str, Any], file: Path) -> None:
    """ValueError that names the module to import, for a model that none of ours registers."""
    name, module = header["model"]["name"], header.get("registered_by")
    if name in ENTRIES:
        return
    if module in (None, "__main__"):
        hint = "import the module that registers it"
    else:
        hint = f"the module {module} registered it"
    raise ValueError(f"weights: {file} holds a {name}, which is not among the models here; {hint} (--import MODULE)")
