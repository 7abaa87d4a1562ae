"""`runtime="auto"`: the runtime that the benchmarks found to be the fastest for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .files import MODEL, is_installed, kind_of, runtimes_of

FASTEST_IN_TORCH = ("vgg",)
"""In the names of models whose time goes into 3x3 convolutions of many channels, which `optimize_for_inference`
computes by Winograd's filtering in float32."""


class Choice(NamedTuple):
    """runtime: its name. optimize: the option for it. reason: for people."""

    runtime: str
    optimize: str
    reason: str


def choose(path: str | os.PathLike[str], *, optimize: str = "off", in_torch: str = "") -> Choice:
    """The runtime for a file, of those that are installed and can run it.

    optimize: as for `Predictor`: "auto" and "bfloat16" allow bfloat16, the others ask for float32. in_torch: what is
    asked for that a detector in torch alone can do, in words; empty for nothing.

    What it follows is the networks of `benchmarks/results`: in float32 those on VGG are the fastest in torch, in our
    own rewriting, and all others in OpenVINO; in bfloat16 all are the fastest in OpenVINO. ONNX Runtime, which has no
    bfloat16 on CPUs, takes OpenVINO's place in float32 where that is not installed.

    FileNotFoundError without the file, ImportError where nothing that runs it is installed.
    """
    possible = runtimes_of(path)
    installed = [name for name in possible if is_installed(name)]
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: no file {path}")
    if not installed:
        raise ImportError(f"runtime: {path} runs with {' or '.join(possible)}, and none of them is installed")
    detector = "torch" in installed and kind_of(path) == MODEL
    if in_torch and detector:
        return Choice("torch", optimize, "no other runtime has what is asked for")
    if len(installed) == 1:
        alone = "the only one that runs such files" if len(possible) == 1 else "no other is installed"
        return Choice(installed[0], _rewritten(optimize) if detector else optimize, alone)
    low = optimize in ("auto", "bfloat16")
    if detector and not low:
        name = _model_name(Path(path))
        if any(part in name for part in FASTEST_IN_TORCH):
            return Choice("torch", "float32", f"the fastest for {name} in float32, rewritten for this CPU")
    if "openvino" in installed:
        return Choice("openvino", optimize, f"the fastest in {'bfloat16' if low else 'float32'}")
    if low and detector:
        return Choice("torch", optimize, "ONNX Runtime has no bfloat16 on a CPU, OpenVINO is not installed")
    return Choice("onnxruntime", optimize, "the fastest of those that are installed")


def _rewritten(optimize: str) -> str:
    return "float32" if optimize == "off" else optimize


def _model_name(path: Path) -> str:
    """Of the model in a file of `save_model`; what else is wrong with the file, who loads it will say."""
    from ..tensor_file import read_header

    model = read_header(path).get("model")
    return str(model.get("name")) if isinstance(model, dict) else ""
