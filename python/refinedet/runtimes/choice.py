"""`runtime="auto"`: the runtime that the benchmarks found to be the fastest for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from .files import MODEL, is_installed, kind_of, runtimes_of

FASTEST_IN_TORCH = ("vgg",)
"""In the names of models whose time goes into 3x3 convolutions of many channels, which `optimize_for_inference`
computes by Winograd's filtering in float32."""
ALIGNED = ("efgrnet", "padet")
"""In the names of models with aligned convolutions, for which our own op is the fastest in bfloat16."""


class Choice(NamedTuple):
    """runtime: its name. optimize: the option for it. reason: for people."""

    runtime: str
    optimize: str
    reason: str


def choose(path: str | os.PathLike[str], *, optimize: str = "off", in_torch: str = "") -> Choice:
    """The runtime for a file, of those that are installed and can run it.

    optimize: as for `Predictor`: "auto" and "bfloat16" allow bfloat16, the others ask for float32. in_torch: what is
    asked for that a detector in torch alone can do, in words; empty for nothing.

    What it follows is `benchmarks/detectors/bench_runtimes.py` and the networks of `benchmarks/results`: in float32
    those on VGG are the fastest in torch, in our own rewriting, or within some percent of it, in bfloat16 those with
    aligned convolutions; all others in OpenVINO. ONNX Runtime, which has no bfloat16 on CPUs, takes OpenVINO's place in
    float32 where that is not installed.

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
    low = optimize == "bfloat16" or (optimize == "auto" and multiplies_bfloat16())
    if detector:
        name = _model_name(Path(path))
        if any(part in name for part in (ALIGNED if low else FASTEST_IN_TORCH)):
            dtype = "bfloat16" if low else "float32"
            return Choice("torch", _rewritten(optimize), f"the fastest for {name} in {dtype}, rewritten for this CPU")
    if "openvino" in installed:
        return Choice("openvino", optimize, f"the fastest in {'bfloat16' if low else 'float32'}")
    if low and detector:
        return Choice("torch", optimize, "ONNX Runtime has no bfloat16 on a CPU, OpenVINO is not installed")
    return Choice("onnxruntime", optimize, "the fastest of those that are installed")


def multiplies_bfloat16() -> bool:
    """Whether Linux says that the processor does. `refinedet_ext.machine` knows it better, and needs torch for that."""
    try:
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # another system
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(words)


def _rewritten(optimize: str) -> str:
    return "float32" if optimize == "off" else optimize


def _model_name(path: Path) -> str:
    """Of the model in a file of `save_model`; what else is wrong with the file, who loads it will say."""
    from ..tensor_file import read_header

    model = read_header(path).get("model")
    return str(model.get("name")) if isinstance(model, dict) else ""
