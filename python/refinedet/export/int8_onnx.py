"""ONNX files in 8-bit integers, by ONNX Runtime's static quantisation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..model_info import KEY, ModelInfo
from .int8_parts import MANY, floats, network_input
from .quiet import quiet

RUNTIME = "onnxruntime"
NEEDS = ("onnx", "onnxruntime")

QUANTISED = ("Conv", "Add", "Relu", "Clip", "Concat", "MaxPool")
"""Types of operations for which ONNX Runtime has integer kernels on a CPU, or which go into those of others."""
CONVOLUTIONS = ("Conv", "ConvTranspose", "DeformConv")


def prepare(graph: Path, path: Path) -> Path:
    """The file itself: it is ONNX Runtime's own."""
    return graph


def quantize(source: Path, calibration: Sequence[np.ndarray], part: str, path: Path) -> None:
    """Write an ONNX file in 8 bits: pairs of QuantizeLinear and DequantizeLinear. part: which of `PARTS`.

    Weights get one scale for each channel and 7 of the 8 bits: on processors without VNNI, sums of two products with
    full 8-bit weights overflow the 16 bits that ONNX Runtime has for them. What stands behind the last convolutions
    stays in float, whether it is raw outputs or detections.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    info = _info(onnx.load(source, load_external_data=False), source)
    with tempfile.TemporaryDirectory() as folder, quiet():
        shaped = Path(folder) / "shaped.onnx"
        quant_pre_process(source, shaped, skip_optimization=True, skip_symbolic_shape=True)
        graph = onnx.load(shaped).graph
        network = network_nodes(graph)
        first = next(node.name for node in graph.node if node.op_type in CONVOLUTIONS)
        stay = [node.name for node in graph.node if node.name not in network]
        quantize_static(
            shaped,
            path,
            _Images(calibration, info, graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=stay + floats(part, first, last_convolutions(graph)),
        )
    model = onnx.load(path)
    drop_remarks(model.graph)
    store_in_half(model.graph)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {KEY: replace(info, precision="int8").to_json()})
    onnx.save(model, path)


def network_nodes(graph: Any) -> set[str]:
    """Names of the convolutions and of what comes before them."""
    found: set[str] = set()
    needed: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in CONVOLUTIONS or needed.intersection(node.output):
            found.add(node.name)
            needed.update(node.input)
    return found


def last_convolutions(graph: Any) -> list[str]:
    """Names of the convolutions from which an output is reached without another one: those of the heads."""
    found: list[str] = []
    open_ends = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if open_ends.intersection(node.output):
            if node.op_type in CONVOLUTIONS:
                found.append(node.name)
            else:
                open_ends.update(node.input)
    return found


def store_in_half(graph: Any) -> None:
    """Let the weights of convolutions that are still float32 be stored as float16, whose rounding is a tenth of that
    to 8 bits, and be turned back when the network is loaded."""
    from onnx import TensorProto, helper, numpy_helper

    weights = {node.input[1] for node in graph.node if node.op_type in CONVOLUTIONS}
    for constant in list(graph.initializer):
        if constant.name not in weights or constant.data_type != TensorProto.FLOAT:
            continue
        numbers = numpy_helper.to_array(constant)
        with np.errstate(over="ignore"):
            half = numbers.astype(np.float16)
        if numbers.size < MANY or not np.isfinite(half).all():
            continue
        name = constant.name
        graph.initializer.remove(constant)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT))


def drop_remarks(graph: Any) -> None:
    """Leave out what torch's exporter notes on the graph, its nodes and its values: names and lines of Python, some
    percent of a small file."""
    graph.ClearField("metadata_props")
    for kind in (graph.node, graph.value_info, graph.initializer, graph.input, graph.output):
        for entry in kind:
            entry.ClearField("metadata_props")
            entry.ClearField("doc_string")


def _info(model: Any, source: Path) -> ModelInfo:
    text = next(entry.value for entry in model.metadata_props if entry.key == KEY)
    return ModelInfo.from_json(text, source=str(source))


class _Images:
    """A `CalibrationDataReader`: an image at a time."""

    def __init__(self, images: Sequence[np.ndarray], info: ModelInfo, name: str) -> None:
        self._inputs: Iterator[Mapping[str, np.ndarray]] = ({name: network_input(image, info)} for image in images)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._inputs, None)
