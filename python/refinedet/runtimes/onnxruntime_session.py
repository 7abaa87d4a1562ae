"""Networks in ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from ..model_info import KEY, ModelInfo
from .session import cannot_run, check_outputs, not_ours, output_names

NAME = "ONNX Runtime"
ERRORS_ONLY = 3  # of the log; below it are remarks on how the graph could be smaller
UNREADABLE = (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.NotImplemented, errors.InvalidArgument)


class OnnxRuntimeSession:
    """An ONNX file in ONNX Runtime; see `Session`.

    threads: of a call; None is one for each core. ValueError where the file cannot be run, naming it.
    """

    def __init__(self, path: Path, *, threads: int | None = None, precision: str = "float32") -> None:
        if precision != "float32":
            raise ValueError(
                f"optimize: {NAME} computes in float32 on a CPU, runtime openvino in bfloat16 as well, got {precision}"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads, options.inter_op_num_threads = threads or 0, 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except UNREADABLE as error:
            raise cannot_run(NAME, path, error) from None
        text = self._session.get_modelmeta().custom_metadata_map.get(KEY)
        if text is None:
            raise not_ours(path)
        self.info = ModelInfo.from_json(text, source=f"weights: {path}")
        check_outputs(path, self.info, [output.name for output in self._session.get_outputs()])
        self._names = list(output_names(self.info))
        self._input = self._session.get_inputs()[0].name
        self.runtime, self.precision = f"{NAME} {onnxruntime.__version__}", precision

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(self._names, self._session.run(self._names, {self._input: images}), strict=True))
