"""The list that every detector's module enters its models into; `refinedet.registry` reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Detector
    from .config import DetectorConfig

Builder = Callable[[Any, int], "Detector"]


@dataclass(frozen=True)
class ModelEntry:
    """A registered model.

    Attributes:
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


ENTRIES: dict[str, ModelEntry] = {}


def register_model(name: str, config: DetectorConfig, description: str = "") -> Callable[[Builder], Builder]:
    """Decorator that adds ``build(config, num_classes) -> Detector`` to the registry.

    Args:
        name: what `create_model` takes.
        config: the model's defaults; the fields of its class are the options of the model.
        description: one line; the first one of the function's docstring without it.

    Raises:
        ValueError: for a name that is registered already.
    """

    def decorate(build: Builder) -> Builder:
        if name in ENTRIES:
            raise ValueError(f"name: a model {name!r} is registered already")
        first_line = (build.__doc__ or "").strip().split("\n")[0]
        ENTRIES[name] = ModelEntry(name, config, build, description or first_line)
        return build

    return decorate
