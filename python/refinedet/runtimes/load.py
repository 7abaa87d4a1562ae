"""A model file as what runs it: a detector in torch, or a `RuntimeModel`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checks import check_integer
from .choice import choose
from .files import MODEL, check_runtime, kind_of, runtimes_of
from .model import RuntimeModel
from .open import open_model

if TYPE_CHECKING:
    from ..detectors import Detector


class Loaded(NamedTuple):
    """model: in eval mode. class_names: of the labels 1, 2, ...; None if the file has none.

    optimize: what `optimize_for_inference` is still to make of a detector; "off" for a `RuntimeModel`. reason: why this
    runtime; empty where it was asked for.
    """

    model: Detector | RuntimeModel
    class_names: list[str] | None
    optimize: str
    reason: str


def load_any(
    path: str | os.PathLike[str],
    runtime: str | None = None,
    *,
    threads: int | None = None,
    device: Any = "cpu",
    input_size: int | None = None,
    multi_scale: Any = None,
    optimize: str = "off",
    options: Mapping[str, Any],
) -> Loaded:
    """The model of a file in a runtime; arguments and errors as `Predictor.from_file`."""
    reason = ""
    if threads is not None:
        check_integer(threads, "threads", 1)
    if runtime == "auto":
        runtime, optimize, reason = choose(path, optimize=optimize, in_torch=_asks_for_torch(device, multi_scale))
    elif runtime is None:
        runtime = runtimes_of(path)[0]
    check_runtime(path, runtime)
    if runtime == "torch" and kind_of(path) == MODEL:
        return _in_torch(path, threads, device, optimize, options, reason)
    asked = _asks_for_torch(device, multi_scale)
    if asked:
        raise ValueError(f"{asked}, which a .safetensors file has with runtime torch; got {path} with {runtime}")
    model = open_model(
        path, runtime, threads=threads, optimize=optimize, input_size=input_size, reason=reason, **options
    )
    return Loaded(model, model.class_names, "off", reason)


def _asks_for_torch(device: Any, multi_scale: Any) -> str:
    """What only a detector in torch can do; empty for nothing."""
    if str(device) != "cpu":
        return f"device: expected cpu, not {device}"
    return "" if multi_scale is None else "multi_scale: expected None, not several sizes"


def _in_torch(
    path: Any, threads: int | None, device: Any, optimize: str, options: Mapping[str, Any], reason: str
) -> Loaded:
    import refinedet  # whose names say what to install where a package is missing

    load_model = refinedet.load_model
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    checkpoint = load_model(path, device=device, **options)
    return Loaded(checkpoint.model, checkpoint.class_names, optimize, reason)
