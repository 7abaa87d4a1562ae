"""The model registry: detectors by name, with their options checked."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .checks import check_integer
from .extras import explain_missing

if TYPE_CHECKING:
    from .detectors.base import Detector
    from .detectors.config import DetectorConfig

Builder = Callable[[Any, int], "Detector"]


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    name: what `create_model` takes.
    config: its options with their defaults.
    build: makes the detector from a config and the number of classes.
    description: one line.
    """

    name: str
    config: DetectorConfig
    build: Builder
    description: str

    @property
    def options(self) -> dict[str, Any]:
        """Names and defaults of the options that `create_model` accepts for this model."""
        return self.config.to_dict()


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a model again; `create_model` leaves it on the model as `spec`."""

    name: str
    num_classes: int
    options: dict[str, Any]


_ENTRIES: dict[str, ModelEntry] = {}


def register_model(name: str, config: DetectorConfig, description: str = "") -> Callable[[Builder], Builder]:
    """Decorator that adds `build(config, num_classes) -> Detector` to the registry under `name`.

    `config` holds the model's defaults; the fields of its class are the options of the model.
    """

    def decorate(build: Builder) -> Builder:
        if name in _ENTRIES:
            raise ValueError(f"name: a model {name!r} is registered already")
        first_line = (build.__doc__ or "").strip().split("\n")[0]
        _ENTRIES[name] = ModelEntry(name, config, build, description or first_line)
        return build

    return decorate


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a shell-style pattern, sorted."""
    return sorted(fnmatch.filter(_entries(), pattern))


def model_entry(name: str) -> ModelEntry:
    """The registry's entry of a model; ValueError with the closest names if there is none."""
    entries = _entries()
    if name not in entries:
        raise ValueError(f"name: no model {name!r}; {_closest(name, list(entries), 'models')}")
    return entries[name]


def create_model(
    name: str,
    num_classes: int = 21,
    *,
    backbone_weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Detector:
    """Build a registered detector.

    name: one of `list_models()`, such as "refinedet320_vgg16".
    num_classes: number of classes including background: 21 for the 20 classes of PASCAL VOC.
    backbone_weights: a local file with pretrained weights of the backbone; None starts from random weights. One that
        `refinedet convert` wrote says what its weights expect: those options are set (and logged, where they are not
        the defaults), and ValueError if `options` contradict them.
    options: changes to the model's defaults, see `model_entry(name).options`.

    ValueError names an unknown model or option and the closest ones there are.
    """
    entry = model_entry(name)
    check_integer("num_classes", num_classes, 2)
    known = [field.name for field in dataclasses.fields(entry.config)]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; {_closest(option, known, 'options')}")
    if backbone_weights is not None:
        from .backbones.backbone_file import with_origin_options

        options = with_origin_options(backbone_weights, entry.options, options)
    config = dataclasses.replace(entry.config, **options)
    model = entry.build(config, num_classes)
    model.spec = ModelSpec(name, num_classes, config.to_dict())
    if backbone_weights is not None:
        model.backbone.load_weights(backbone_weights)
    return model


def _entries() -> dict[str, ModelEntry]:
    try:
        from . import detectors  # noqa: F401  (its modules register themselves)
    except ModuleNotFoundError as error:
        raise explain_missing(error, "refinedet's detectors") from error
    return _ENTRIES


def _closest(name: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(other) for other in close) + "?"
    return f"{what}: {', '.join(sorted(known))}"
