"""A network as an OpenVINO file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..detectors import Detector
from ..extras import import_optional
from ..model_info import ModelInfo
from ..runtimes.open import open_session
from .checks import check_path
from .onnx_file import SUFFIX as ONNX_SUFFIX
from .onnx_file import export_onnx
from .verify import Check, compare, write_checked

SUFFIX = ".xml"


@torch.no_grad()
def export_openvino(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    end_to_end: bool = False,
    pixels: str = "float32",
) -> Check:
    """Write a network as an OpenVINO file, *.xml with its weights in *.bin beside it, and check it.

    Options, inputs, outputs and errors are those of `export_onnx`, by whose graph the network comes to OpenVINO. Its
    description stands in the model's rt_info under "refinedet", "model_info". ImportError also without openvino.
    """
    file = check_path(path, SUFFIX)
    import_optional("openvino", "export to OpenVINO")
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / f"model{ONNX_SUFFIX}"
        export_onnx(
            model,
            graph,
            class_names=class_names,
            input_size=input_size,
            batch_size=batch_size,
            dynamic_batch=dynamic_batch,
            end_to_end=end_to_end,
            pixels=pixels,
        )
        network, info = read_file(graph)
    return write_checked(
        file,
        lambda made: save(network, info, made),
        lambda made: compare(model, open_session(made, "openvino"), info),
    )


def read_file(path: Path) -> tuple[Any, ModelInfo]:
    """A file of `export_onnx` or `export_openvino` as an `openvino.Model`, and its description."""
    import openvino

    from ..runtimes.openvino_ops import extensions
    from ..runtimes.openvino_session import RT_INFO

    core = openvino.Core()
    for extension in extensions():
        core.add_extension(extension)
    network = core.read_model(path)
    text = network.get_rt_info(RT_INFO[path.suffix]).astype(str)
    return network, ModelInfo.from_json(text, source=str(path))


def save(network: Any, info: ModelInfo, path: Path) -> None:
    """Write an `openvino.Model` and its weights as they are, with its description."""
    import openvino

    from ..runtimes.openvino_session import RT_INFO

    network.set_rt_info(info.to_json(), RT_INFO[SUFFIX])
    openvino.save_model(network, path, compress_to_fp16=False)
