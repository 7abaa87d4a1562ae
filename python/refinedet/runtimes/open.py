"""The network of an exported file in a runtime. Each runtime is imported when it is asked for."""

from __future__ import annotations

from pathlib import Path

from .session import Session


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
