"""Which runtime runs which kind of file."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ..extras import install_command

RUNTIMES = {"torch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
"""By its name, the module that a runtime needs."""
MODEL = ".safetensors"
RUNTIMES_OF = {
    MODEL: ("torch", "onnxruntime", "openvino"),
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt2": ("torch",),
}
"""By the kind of a file, the runtimes that can run it; the first one unless another is asked for."""


def kind_of(path: str | os.PathLike[str]) -> str:
    """The suffix that says what a file is; every other one stands for a model file of `save_model`."""
    suffix = Path(path).suffix
    return suffix if suffix in RUNTIMES_OF else MODEL


def runtimes_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The runtimes that can run a file of its kind."""
    return RUNTIMES_OF[kind_of(path)]


def is_installed(runtime: str) -> bool:
    """Whether the module that a runtime needs can be imported. Imports nothing."""
    return importlib.util.find_spec(RUNTIMES[runtime]) is not None


def check_runtime(path: str | os.PathLike[str], runtime: str) -> None:
    """ValueError where a runtime cannot run such a file, ImportError where it is not installed."""
    possible = runtimes_of(path)
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime: expected one of {', '.join((*RUNTIMES, 'auto'))}, got {runtime!r}")
    if runtime not in possible:
        raise ValueError(
            f"runtime: {runtime} does not run {kind_of(path)} files, but {' and '.join(possible)} "
            f"{'does' if len(possible) == 1 else 'do'}, got {os.fspath(path)}"
        )
    needed = [RUNTIMES[runtime], *(["safetensors"] if runtime == "torch" and kind_of(path) == MODEL else [])]
    for module in needed:
        if importlib.util.find_spec(module) is None:
            raise ImportError(
                f"runtime {runtime} needs the package {module}, which is not installed: {install_command(module)}"
            )
