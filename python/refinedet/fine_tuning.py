"""A model that starts from the weights of another one, as far as they fit."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from . import tensor_file
from .backbones.backbone_file import same_option
from .backbones.checkpoint import named, read_state_dict
from .inference.finite import check_finite_weights
from .model_options import present_options
from .registry import create_model
from .weights import read_header, read_model

if TYPE_CHECKING:
    from .detectors import Detector

LIGHTNING = "model."  # what a training checkpoint puts before every name
OF_THE_DATA = ("class_weights", "class_weight_largest", "class_weight_gamma")
"""Options that follow the classes of a run: they may differ from the file's."""


@dataclass(frozen=True)
class Start:
    """A model and what it took over from a file.

    loaded: its tensors that are the file's, all rows of them. partly: those with rows of classes that start anew.
    new: those that start anew. left: tensors of the file that found no place. kept, started, dropped: names of the
    classes that the file shares with the model, that only the model has, and only the file; None where the file does
    not name its classes.
    """

    model: Detector
    file: Path
    loaded: list[str]
    partly: list[str]
    new: list[str]
    left: list[str]
    kept: list[str] | None
    started: list[str] | None
    dropped: list[str] | None

    @property
    def whole(self) -> bool:
        """Whether model and file have the same tensors and classes."""
        return not (self.partly or self.new or self.left or self.started or self.dropped)

    def describe(self) -> str:
        """For people, in one line."""
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.partly:
            parts.append(f"{len(self.partly)} in part")
        for what, tensors in (("new", self.new), ("left over in the file", self.left)):
            if tensors:
                parts.append(f"{len(tensors)} {what}: {named(tensors)}")
        for what, classes in (
            ("classes kept", self.kept),
            ("classes that start anew", self.started),
            ("classes of the file left over", self.dropped),
        ):
            if classes:
                parts.append(f"{what}: {named(classes)}")
        if self.kept is None:
            parts.append("the file does not name its classes")
        return f"{self.file}: " + "; ".join(parts)


def file_spec(weights: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `save_model` wrote into a file about its model, see `read_header`; None for a file of plain tensors.

    FileNotFoundError without the file; ValueError for a file with a backbone alone.
    """
    file = Path(weights)
    if not file.is_file():
        raise FileNotFoundError(f"model.weights: no file {file}")
    if file.suffix != tensor_file.SUFFIX:
        return None
    try:
        header = tensor_file.read_header(file)
    except SafetensorError as error:
        raise ValueError(f"model.weights: {file} is not a safetensors file: {error}") from None
    return read_header(file) if header else None


def check_agrees(weights: str | os.PathLike[str], name: str | None, options: Mapping[str, Any]) -> None:
    """ValueError if a model's name or options are others than those of the file's model. None: no name given."""
    header = file_spec(weights)
    if header is None:
        return
    spec = header["model"]
    if name is not None and name != spec["name"]:
        raise ValueError(f"model.name: expected {spec['name']} or nothing, as {weights} is one, got {name}")
    for option, value in options.items():
        if option in OF_THE_DATA or option not in spec["options"]:  # unknown ones are `create_model`'s to report
            continue
        # as the file has it after `create_model` read it
        config = create_config(spec["name"], {**spec["options"], option: value})
        if not same_option(config[option], spec["options"][option]):
            raise ValueError(
                f"model.options.{option}: expected {spec['options'][option]!r} or nothing, as {weights} has it, "
                f"got {value!r}"
            )


def create_config(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a registered model in the form that its file has them in."""
    from .registry import model_entry

    return model_entry(name).config.with_options(**options).to_dict()


def start_from(
    weights: str | os.PathLike[str],
    class_names: Sequence[str],
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Start:
    """A model of these classes with whatever fits of a file's weights.

    weights: a file that `save_model` wrote, whose model is built again, or any file of tensors (`last.ckpt` of a run
    among them), for a model of `name` with `options`; both have to agree with a file that says what it holds.

    Tensors of the same name and shape are taken over. Of the class scores those rows are whose class is in both, by
    name, and the background's; the others start anew. A file that does not name its classes gives its class scores
    only if there are as many.

    strict: ValueError unless model and file have the same tensors, and the same classes in the same order.
    """
    given = present_options(options or {})
    check_agrees(weights, name, given)
    header = file_spec(weights)
    state = read_model(weights)[1] if header is not None else _without_prefix(read_state_dict(weights))
    old_names: list[str] | None = None
    if header is not None:
        old_names = header["class_names"]
        given = _with_class_weights({**header["model"]["options"], **given}, given, old_names, class_names)
    classes = len(class_names) + 1
    model = create_model(name, classes, **given)
    own = model.state_dict()
    by_class = _class_tensors(name, classes, {**given, "class_weights": None})
    loaded: list[str] = []
    partly: list[str] = []
    new: list[str] = []
    taken: dict[str, Tensor] = {}
    for key, value in own.items():
        source = state.get(key)
        if source is not None and key in by_class and old_names is not None:
            source = _rows(value, source, old_names, class_names)
        if source is None or not _fits(value, source):
            new.append(key)
            continue
        taken[key] = source
        whole = key not in by_class or old_names is None or set(class_names) <= set(old_names)
        (loaded if whole else partly).append(key)
    start = Start(
        model,
        Path(weights),
        loaded,
        partly,
        new,
        left=[key for key in state if key not in taken],
        kept=None if old_names is None else [c for c in class_names if c in old_names],
        started=None if old_names is None else [c for c in class_names if c not in old_names],
        dropped=None if old_names is None else [c for c in old_names if c not in class_names],
    )
    if strict and old_names is not None and list(old_names) != list(class_names):
        raise ValueError(
            f"model.weights: expected a model of the classes {list(class_names)}, {weights} has {old_names}"
        )
    if strict and not start.whole:
        raise ValueError(f"model.weights: expected the weights of {name}, all of them; {start.describe()}")
    if not taken:
        raise ValueError(
            f"model.weights: nothing in {weights} fits {name}, which has {named(list(own))}; the file has "
            f"{named(list(state))}"
        )
    model.load_state_dict({**own, **taken})
    check_finite_weights(model, f"model.weights: {weights}")
    return start


def _fits(own: Tensor, source: Tensor) -> bool:
    return source.shape == own.shape and source.is_floating_point() >= own.is_floating_point()


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith(LIGHTNING) for key in state):
        return {key.removeprefix(LIGHTNING): value for key, value in state.items()}
    return state


def _with_class_weights(
    options: dict[str, Any], given: Mapping[str, Any], old: Sequence[str] | None, new: Sequence[str]
) -> dict[str, Any]:
    """The file's class weights of the loss stay with their classes, 1 for the others, unless some were given."""
    weights = options.get("class_weights")
    if "class_weights" in given or not isinstance(weights, (list, tuple)):
        return options
    by_name = {} if old is None else dict(zip(old, weights, strict=True))
    return {**options, "class_weights": [by_name.get(name, 1.0) for name in new]}


def _class_tensors(name: str, classes: int, options: Mapping[str, Any]) -> set[str]:
    """The tensors of a model whose first dimension counts anchors times classes."""
    with torch.device("meta"):
        one, more = (create_model(name, count, **options).state_dict() for count in (classes, classes + 1))
    return {key for key in one if one[key].shape != more[key].shape}


def _rows(own: Tensor, source: Tensor, old: Sequence[str], new: Sequence[str]) -> Tensor | None:
    """`own` with the rows of `source` for the background and every class that both have, anchor by anchor."""
    before, after = len(old) + 1, len(new) + 1
    anchors = own.shape[0] // after
    if source.shape != (anchors * before, *own.shape[1:]):
        return None
    rows = own.clone().unflatten(0, (anchors, after))
    theirs = source.unflatten(0, (anchors, before))
    places = [0, *(old.index(name) + 1 if name in old else -1 for name in new)]
    for place, other in enumerate(places):
        if other >= 0:
            rows[:, place] = theirs[:, other].to(rows.dtype)
    return rows.flatten(0, 1)
