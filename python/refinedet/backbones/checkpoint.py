"""Reading weight files and fitting them to a module, with errors that name the keys."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .archive import check_intact

MAX_NAMED = 8
DAMAGED = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AssertionError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
"""What torch's unpickler raises over bytes that are no tensors: it has no error of its own for them."""


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a local `.safetensors` file or of one that `torch.save` wrote, on the CPU.

    A torch file is read with `weights_only=True`, so that it cannot run code. If it holds its tensors under
    "state_dict" or "model", those are taken. FileNotFoundError if there is no such file; ValueError if it is none of
    these.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"weights: no file {file}")
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"weights: {file} is not a safetensors file: {error}") from None
    check_intact(file, "weights")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        first = str(error).strip().split("\n")[0]
        raise ValueError(f"weights: {file} is not a file of plain tensors: {type(error).__name__}: {first}") from None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"weights: expected a dict of tensors in {file}, got {type(content)}")
    wrong = [str(key) for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f"weights: expected only tensors with names in {file}, but not: {named(wrong)}")
    return dict(content)


def load_strict(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Copy `state` into `module`; ValueError naming the keys unless names and shapes fit exactly.

    source: where the tensors come from, for the error. Nothing is copied in case of an error.
    """
    check_fits(module, state, module.state_dict(), source=source)
    module.load_state_dict(dict(state))


def check_fits(module: nn.Module, state: Mapping[str, Tensor], own: Mapping[str, Tensor], *, source: str) -> None:
    """ValueError unless `state` has the names and shapes of `own`, the state dict of `module` or a part of it.

    Floats may be of another precision, but not integers.
    """
    problems = []
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    if missing:
        problems.append(f"missing: {named(missing)}")
    if unexpected:
        problems.append(f"unexpected: {named(unexpected)}")
    shapes = [
        f"{key} (expected {tuple(own[key].shape)}, got {tuple(state[key].shape)})"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    if shapes:
        problems.append(f"shapes differ: {named(shapes)}")
    kinds = [
        f"{key} (expected {own[key].dtype}, got {state[key].dtype})"
        for key in own
        if key in state and own[key].is_floating_point() != state[key].is_floating_point()
    ]
    if kinds:
        problems.append(f"dtypes differ: {named(kinds)}")
    if problems:
        raise ValueError(f"weights: {source} does not fit {type(module).__name__}; " + "; ".join(problems))


def named(items: list[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
    return ", ".join(items[:MAX_NAMED]) + more
