"""Model files of every kind, opened in the runtime that is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checks import check_choice, check_integer
from ..nms_config import NMSConfig, resolve_nms
from .converted import converted
from .files import MODEL, check_runtime, kind_of, runtimes_of
from .model import RuntimeModel
from .session import Session

PRECISIONS = {"off": "float32", "float32": "float32", "bfloat16": "bfloat16", "auto": "auto"}
"""By the option optimize of `Predictor`."""


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
    about = f"runtime: {session.runtime}, {session.precision}{f' ({reason})' if reason else ''}"
    model = RuntimeModel(session, session.info, nms=suppression, about=about)
    model.input_side(input_size)
    return model


def open_session(file: Path, runtime: str, threads: int | None = None, precision: str = "float32") -> Session:
    """The network alone of an exported file in a runtime that runs such files."""
    if runtime == "onnxruntime":
        from .onnxruntime_session import OnnxRuntimeSession

        return OnnxRuntimeSession(file, threads=threads, precision=precision)
    if runtime == "openvino":
        from .openvino_session import OpenVinoSession

        return OpenVinoSession(file, threads=threads, precision=precision)
    from .torch_session import TorchSession

    return TorchSession(file, threads=threads, precision=precision)
