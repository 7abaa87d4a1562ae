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
from .backbones.checkpoint import named, read_state_dict
from .inference.finite import check_finite_weights
from .model_options import present_options
from .registry import change_options, create_model
from .weights import read_header, read_model

if TYPE_CHECKING:
    from .detectors import Detector

LIGHTNING = "model."  # what a training checkpoint puts before every name


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
    """ValueError if a model's name, or options that belong to the weights, are others than those of the file's model.

    name: None is that of the file. options: see `registry.change_options`.
    """
    header = file_spec(weights)
    if header is not None:
        options_beside(header, weights, name, options)


def options_beside(
    header: Mapping[str, Any], weights: str | os.PathLike[str], name: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of a file's model with those that were given beside it; ValueError as `check_agrees` says."""
    spec = header["model"]
    if name is not None and name != spec["name"]:
        raise ValueError(f"model.name: expected {spec['name']} or nothing, as {weights} is one, got {name}")
    return change_options(spec["name"], spec["options"], options, source=str(weights), section="model.options.")


def start_from(
    weights: str | os.PathLike[str],
    class_names: Sequence[str],
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    strict: bool = False,
    same: Mapping[str, str] | None = None,
) -> Start:
    """A model of these classes with whatever fits of a file's weights.

    weights: a file that `save_model` wrote, whose model is built again, or any file of tensors (`last.ckpt` of a run
    among them), for a model of `name` with `options`. Of a file that says what it holds, the name has to be the
    file's, and so do the options that belong to the weights; others, such as the suppression and the rules of the
    loss, hold in place of the file's.

    Tensors of the same name and shape are taken over. Of the class scores those rows are whose class is in both, by
    name, and the background's; the others start anew. A file that does not name its classes gives its class scores
    only if there are as many.

    strict: ValueError unless model and file have the same tensors, and the same classes in the same order.
    same: the file is to have all classes, and may have more: ValueError if some are missing, also where `strict` is
        False. Names of the file by the names that the classes have here, where those differ, as `VOC_IN_COCO`.
    """
    given = present_options(options or {})
    header = file_spec(weights)
    old_names: list[str] | None = None
    theirs = [(same or {}).get(c, c) for c in class_names]
    if header is None:
        state = _without_prefix(read_state_dict(weights))
    else:
        changed = options_beside(header, weights, name, given)
        state = read_model(weights)[1]
        old_names = header["class_names"]
        given = _with_class_weights(changed, given, old_names, theirs)
    if same is not None:
        _check_has_classes(weights, old_names, theirs)
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
            source = _rows(value, source, old_names, theirs)
        if source is None or not _fits(value, source):
            new.append(key)
            continue
        taken[key] = source
        whole = key not in by_class or old_names is None or set(theirs) <= set(old_names)
        (loaded if whole else partly).append(key)
    start = Start(
        model,
        Path(weights),
        loaded,
        partly,
        new,
        left=[key for key in state if key not in taken],
        kept=None if old_names is None else [c for c, t in zip(class_names, theirs, strict=True) if t in old_names],
        started=None
        if old_names is None
        else [c for c, t in zip(class_names, theirs, strict=True) if t not in old_names],
        dropped=None if old_names is None else [c for c in old_names if c not in theirs],
    )
    if strict and same is None and old_names is not None and list(old_names) != list(class_names):
        raise ValueError(
            f"model.weights: expected a model of the classes {list(class_names)}, {weights} has {old_names}"
        )
    if strict and (start.new or start.left or (same is None and not start.whole)):
        raise ValueError(f"model.weights: expected the weights of {name}, all of them; {start.describe()}")
    if not taken:
        raise ValueError(
            f"model.weights: nothing in {weights} fits {name}, which has {named(list(own))}; the file has "
            f"{named(list(state))}"
        )
    model.load_state_dict({**own, **taken})
    check_finite_weights(model, f"model.weights: {weights}")
    return start


def _check_has_classes(weights: str | os.PathLike[str], old: Sequence[str] | None, wanted: Sequence[str]) -> None:
    if old is None:
        raise ValueError(
            f"model.subsample_classes: expected model.weights of a model that names its classes, {weights} does not"
        )
    missing = [name for name in wanted if name not in old]
    if missing:
        raise ValueError(
            f"model.subsample_classes: expected model.weights that has all classes of the data, {weights} has no "
            f"{named(missing)}"
        )


def _fits(own: Tensor, source: Tensor) -> bool:
    return source.shape == own.shape and source.is_floating_point() >= own.is_floating_point()


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith(LIGHTNING) for key in state):
        return {key.removeprefix(LIGHTNING): value for key, value in state.items()}
    return state


def _with_class_weights(
    options: dict[str, Any], given: Mapping[str, Any], old: Sequence[str] | None, new: Sequence[str]
) -> dict[str, Any]:
    """The file's class weights of the loss stay with their classes, 1 for the others, unless some were given.

    new: the file's names of the model's classes.
    """
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
