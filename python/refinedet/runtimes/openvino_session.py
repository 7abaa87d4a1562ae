"""Networks in OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from ..checks import check_choice
from ..model_info import KEY, ModelInfo
from .openvino_ops import extensions
from .session import cannot_run, check_outputs, not_ours, output_names

NAME = "OpenVINO"
DTYPES = {"float32": "f32", "bfloat16": "bf16"}
RT_INFO = {".xml": [KEY, "model_info"], ".onnx": ["framework", KEY]}
"""By a file's suffix, where OpenVINO has the description of its model."""
MAX_COMPILED = 8


class OpenVinoSession:
    """An OpenVINO or ONNX file in OpenVINO; see `Session`.

    threads: of a call; None is one for each core. precision: "float32", "bfloat16", or "auto", which is bfloat16 where
    the processor multiplies it. ValueError where the file cannot be run, naming it, and for bfloat16 where the
    processor does not have it.

    A network is compiled for each number of images in a call, when it first comes (the last 8 are kept): OpenVINO is
    slower where it is not told how many there are.
    """

    def __init__(self, path: Path, *, threads: int | None = None, precision: str = "float32") -> None:
        check_choice(precision, "precision", ("auto", *DTYPES))
        self._core = openvino.Core()
        for extension in extensions():
            self._core.add_extension(extension)
        try:
            self._model = self._core.read_model(path)
        except RuntimeError as error:
            raise cannot_run(NAME, path, error) from None
        where = RT_INFO[path.suffix]
        if not self._model.has_rt_info(where):
            raise not_ours(path)
        self.info = ModelInfo.from_json(self._model.get_rt_info(where).astype(str), source=f"weights: {path}")
        check_outputs(path, self.info, [output.any_name for output in self._model.outputs])
        self.runtime, self.precision = f"{NAME} {openvino.__version__.split('-')[0]}", self._precision(precision)
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": DTYPES[self.precision],
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            self._settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled: dict[int, openvino.CompiledModel] = {}

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        found = self._network(len(images))([images], share_inputs=True)
        return {name: found[name] for name in output_names(self.info)}

    def _precision(self, wanted: str) -> str:
        has_bfloat16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if wanted == "bfloat16" and not has_bfloat16:
            raise ValueError("optimize: this processor does not multiply bfloat16, expected float32 or auto")
        return ("bfloat16" if has_bfloat16 else "float32") if wanted == "auto" else wanted

    def _network(self, batch: int) -> openvino.CompiledModel:
        if batch not in self._compiled:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            model = self._model
            if self.info.batch is None:
                model = model.clone()
                model.reshape([batch, 3, *self.info.input_size])
            self._compiled[batch] = self._core.compile_model(model, "CPU", self._settings)
        return self._compiled[batch]
