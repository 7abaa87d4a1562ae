"""Tensors and what they are, in one safetensors file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
KEY = "refinedet"  # of the header among the file's metadata


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """The path; ValueError unless it ends as such a file does."""
    file = Path(path)
    if file.suffix != SUFFIX:
        raise ValueError(f"path: expected a file name that ends in {SUFFIX}, got {file}")
    return file


def write_tensors(state: Mapping[str, Tensor], file: Path, header: dict[str, Any]) -> Path:
    """Write a state dict, and a header that JSON can hold; returns the path.

    The file replaces an older one only when it is complete.
    """
    from safetensors.torch import save_file  # brings torch, which reading a header does not need

    # contiguous: a model in channels_last layout keeps its weights that way
    tensors = {key: value.contiguous().cpu() for key, value in state.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as empty:
            mode = os.fstat(empty.fileno()).st_mode
        save_file(tensors, partial, metadata={KEY: json.dumps(header)})
        os.chmod(partial, stat.S_IMODE(mode))  # safetensors leaves it readable to its owner alone, whatever the umask
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def read_header(file: Path) -> dict[str, Any]:
    """The header that `write_tensors` wrote; empty in a file of others.

    SafetensorError if it is no such file, ValueError if it has a header that cannot be read.
    """
    with safe_open(file, framework="np") as content:
        text = (content.metadata() or {}).get(KEY)
    if text is None:
        return {}
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"weights: the header of {file} is damaged: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"weights: the header of {file} is damaged: expected a mapping, got {type(header).__name__}")
    return header


def check_header(header: dict[str, Any], file: Path, kinds: Mapping[str, type]) -> None:
    """ValueError unless the header has these keys, with values of these kinds, and a version of at least 1."""
    for key, kind in {"version": int, **kinds}.items():
        inner: Any = header
        for part in key.split("."):
            inner = inner.get(part) if isinstance(inner, dict) else None
        if not isinstance(inner, kind) or isinstance(inner, bool):
            raise ValueError(
                f"weights: the header of {file} is damaged: {key}: expected {kind.__name__}, got {inner!r:.80}"
            )
