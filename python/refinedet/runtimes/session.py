"""What a runtime has to be: a file's network as a call from arrays to arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from ..model_info import ModelInfo
from .files import runtimes_of

RAW_OUTPUTS = ("arm_logits", "arm_deltas", "odm_logits", "odm_deltas", "anchors")
"""As `HeadOutputs` has them, which is torch's."""
DETECTIONS = ("boxes", "scores", "labels", "count")
"""As `refinedet_ext.Detections` has them."""


LONGEST = 300  # characters of a runtime's own words


class Session(Protocol):
    """A network that a runtime has loaded.

    runtime: its name and version, "ONNX Runtime 1.20.1". precision: what it computes in. info: what the file says.
    Called with images
    (B, 3, H, W) of the dtype that `ModelInfo.pixels` says, contiguous, it returns the outputs by their names:
    those of `RAW_OUTPUTS` or of `DETECTIONS`, as `ModelInfo.outputs` says. One call at a time.
    """

    runtime: str
    precision: str
    info: ModelInfo

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]: ...


def describe(session: Session) -> str:
    """The runtime and what it computes in: "OpenVINO 2026.4.1, int8 and float32" for a quantised network."""
    computed = session.precision if session.info.precision != "int8" else f"int8 and {session.precision}"
    return f"{session.runtime}, {computed}"


def output_names(info: ModelInfo) -> tuple[str, ...]:
    """The outputs that such a file has."""
    return RAW_OUTPUTS if info.outputs == "raw" else DETECTIONS


def check_outputs(path: Path, info: ModelInfo, names: list[str]) -> None:
    """ValueError unless a file's outputs are what its description says."""
    missing = [name for name in output_names(info) if name not in names]
    if missing:
        raise ValueError(f"weights: {path} has no output {', '.join(missing)}, but {', '.join(names)}")


def not_ours(path: Path) -> ValueError:
    """The error for a file that lacks a description."""
    return ValueError(
        f"weights: {path} says nothing about its classes and pixels: it was not written by refinedet export, or by an "
        "older version of it; export the model again"
    )


def cannot_run(name: str, path: Path, error: Exception) -> ValueError:
    """The error, in one line, for a file that a runtime does not read; it names the other runtimes of such files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    others = [other for other in runtimes_of(path) if other not in (name.lower().replace(" ", ""), "torch")]
    hint = f"; runtime {' or '.join(others)} may" if others else ""
    return ValueError(f"weights: {name} cannot run {path}: {' '.join(lines)[:LONGEST]}{hint}")
