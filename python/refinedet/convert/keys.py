"""Renaming the keys of a foreign state dict, with errors that name those that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

MAX_NAMED = 8


@dataclass(frozen=True)
class Converted:
    """A foreign checkpoint as a model of this package's registry.

    model, num_classes, options: for `create_model`; the options make the model what the weights expect. state: for its
    `load_state_dict`.
    """

    model: str
    num_classes: int
    options: dict[str, Any]
    state: dict[str, Tensor]


@dataclass
class KeyMap:
    """Takes tensors out of a foreign state dict by name.

    source: what the file is said to be, for errors. Keys that begin with "module.", as DataParallel leaves them, count
    without it.
    """

    state: Mapping[str, Tensor]
    source: str
    taken: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.state and all(key.startswith("module.") for key in self.state):
            self.state = {key.removeprefix("module."): value for key, value in self.state.items()}
        self._left = dict(self.state)
        self._missing: list[str] = []

    def rename(self, ours: str, theirs: str, change: Callable[[Tensor], Tensor] | None = None) -> None:
        """`theirs` becomes `ours`; one that is not there is remembered for `finish`."""
        value = self._left.pop(theirs, None)
        if value is None:
            self._missing.append(theirs)
        else:
            self.taken[ours] = value if change is None else change(value)

    def rename_layer(self, ours: str, theirs: str, kinds: tuple[str, ...] = ("weight", "bias")) -> None:
        """The weight and the bias of a layer, or whatever `kinds` it has."""
        for kind in kinds:
            self.rename(f"{ours}.{kind}", f"{theirs}.{kind}")

    def drop(self, key: str) -> None:
        """A key that this package has no use for; it need not be there."""
        self._left.pop(key, None)

    def shape(self, key: str) -> tuple[int, ...]:
        """ValueError if the checkpoint has no such key."""
        if key not in self.state:
            raise ValueError(f"weights: no {self.source} checkpoint: it has no key {key!r}")
        return tuple(self.state[key].shape)

    def finish(self) -> dict[str, Tensor]:
        """What was taken; ValueError that names keys which were missing or are left over."""
        problems = []
        if self._missing:
            problems.append(f"missing: {_some(self._missing)}")
        if self._left:
            problems.append(f"left over: {_some(list(self._left))}")
        if problems:
            raise ValueError(f"weights: no {self.source} checkpoint; " + "; ".join(problems))
        return self.taken


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
