"""A model file as what runs it: a detector in torch, or a `RuntimeModel`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import check_choice, check_integer
from ..nms_config import NMSConfig, resolve_nms
from .choice import choose
from .converted import converted
from .files import MODEL, check_runtime, kind_of, runtimes_of
from .model import RuntimeModel
from .open import open_session
from .session import describe

if TYPE_CHECKING:
    from ..detectors import Detector


PRECISIONS = {"off": "float32", "float32": "float32", "bfloat16": "bfloat16", "auto": "auto"}
"""By the option optimize of `Predictor`."""


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
        given: dict[str, Any] = {"threads": threads, "input_size": input_size, "options": options}
        runtime, optimize, reason = choose(
            path,
            partial(_open_network, path, **given),
            optimize=optimize,
            in_torch=_asks_for_torch(device, multi_scale),
            **given,
        )
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


def _open_network(
    path: str | os.PathLike[str], runtime: str, optimize: str, *, input_size: int | None, **given: Any
) -> Callable[[Sequence[np.ndarray]], Any]:
    loaded = load_any(path, runtime, optimize=optimize, input_size=input_size, **given)
    if isinstance(loaded.model, RuntimeModel):
        return loaded.model
    from ..inference.network import in_torch

    side = loaded.model.input_side(input_size)
    return in_torch(loaded.model, side, device=None, multi_scale=None, optimize=loaded.optimize)[1]


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


def open_model(
    path: str | os.PathLike[str],
    runtime: str | None = None,
    *,
    threads: int | None = None,
    optimize: str = "off",
    input_size: int | None = None,
    nms: str | Mapping[str, Any] | NMSConfig | None = None,
    reason: str = "",
    **options: Any,
) -> RuntimeModel:
    """A model file in ONNX Runtime or OpenVINO, or a *.pt2 file in torch.

        model = open_model("model.onnx", "openvino", threads=2)

    path: *.onnx, OpenVINO's *.xml and *.pt2 as `refinedet export` writes them, or a *.safetensors file, which is
        converted to ONNX at the first use and kept in the user's cache folder.
    runtime: "onnxruntime" or "openvino"; None is the first one that runs such a file. A model in torch, but for *.pt2,
        is `load_model`'s.
    threads: of a call; None is the runtime's own choice, mostly one a core.
    optimize: the precision: "off" and "float32" are the same; "bfloat16" and "auto" (where the processor multiplies it)
        with OpenVINO.
    input_size: side of the input; a file other than *.safetensors has but one.
    nms: another suppression than the file's, see `resolve_nms`. reason: why this runtime, for `RuntimeModel.about`.
    options: of a *.safetensors file, changes to the model's options as for `load_model`.

    FileNotFoundError without the file; ValueError for options that do not fit, and a file that the runtime cannot run;
    ImportError where the runtime, or what the conversion needs, is not installed.
    """
    file = Path(path)
    possible = runtimes_of(file)
    if runtime is None:
        runtime = next(name for name in possible if name != "torch" or len(possible) == 1)
    check_runtime(file, runtime)
    check_choice(optimize, "optimize", tuple(PRECISIONS))
    if threads is not None:
        check_integer(threads, "threads", 1)
    suppression = None if nms is None else resolve_nms(nms)
    if not file.is_file():
        raise FileNotFoundError(f"weights: no file {file}")
    if kind_of(file) == MODEL:
        if runtime == "torch":
            raise ValueError("runtime: a model file in torch is load_model's, expected one of the others, got torch")
        file = converted(file, input_size=input_size, options=options)
    elif options:
        raise ValueError(f"{next(iter(options))}: expected options of .safetensors files alone, got {file}")
    session = open_session(file, runtime, threads, PRECISIONS[optimize])
    if threads is not None:
        import refinedet_ext.numpy as rxn

        rxn.set_num_threads(threads)
    about = f"runtime: {describe(session)}{f' ({reason})' if reason else ''}"
    model = RuntimeModel(session, session.info, nms=suppression, about=about)
    model.input_side(input_size)
    return model
