"""OpenVINO files in 8-bit integers, by NNCF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .int8_parts import MANY, floats, network_input
from .openvino_file import read_file, save
from .quiet import quiet

RUNTIME = "openvino"
NEEDS = ("openvino", "nncf")

FLOAT_OPS = ("DeformableConvolution",)
"""By their types in OpenVINO: they sample between pixels, by offsets that 8 bits would round."""
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")
WITH_WEIGHTS = {*CONVOLUTIONS, "FakeQuantize", "Multiply", "Reshape", "ShapeOf"}
"""What stands between weights and their convolution, and not behind anchors and biases."""


def prepare(graph: Path, path: Path) -> Path:
    """Write an ONNX file of `export_onnx` as an OpenVINO file in float32."""
    save(*read_file(graph), path)
    return path


def quantize(source: Path, calibration: Sequence[np.ndarray], part: str, path: Path) -> None:
    """Write an OpenVINO file in 8 bits. part: which of `PARTS`.

    ValueError where NNCF cannot, which names ONNX Runtime's quantisation.
    """
    import nncf

    network, info = read_file(source)
    stay = [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in FLOAT_OPS]
    stay += floats(part, next(convolutions(network)), last_convolutions(network))
    try:
        with quiet():
            small = nncf.quantize(
                network,
                nncf.Dataset(list(calibration), partial(network_input, info=info)),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(calibration),
                ignored_scope=nncf.IgnoredScope(names=sorted(set(stay))),
            )
    except (nncf.UnsupportedModelError, nncf.ValidationError, nncf.InternalError) as error:
        raise ValueError(
            f"int8: NNCF cannot quantise {info.model}: {' '.join(str(error).split()):.300}; ONNX Runtime may, to a "
            ".onnx file"
        ) from error
    store_in_half(small)
    save(small, replace(info, precision="int8"), path)


def store_in_half(network: Any) -> None:
    """Let the weights that are still float32 be stored as float16, whose rounding is a tenth of that to 8 bits, and
    be turned back when the network is loaded. OpenVINO's own compression leaves quantised networks alone."""
    from openvino import opset13

    for op in network.get_ordered_ops():
        if op.get_type_name() != "Constant" or op.data.dtype != np.float32 or op.data.size < MANY:
            continue
        users = op.output(0).get_target_inputs()
        if {user.get_node().get_type_name() for user in users} <= WITH_WEIGHTS:
            half = opset13.constant(op.data.astype(np.float16))
            if np.isfinite(half.data).all():
                back = opset13.convert(half, "f32")
                for user in users:
                    user.replace_source_output(back.output(0))


def convolutions(network: Any) -> Iterator[str]:
    """Names of the convolutions in the order in which they run."""
    for op in network.get_ordered_ops():
        if op.get_type_name() in CONVOLUTIONS:
            yield op.get_friendly_name()


def last_convolutions(network: Any) -> list[str]:
    """Names of the convolutions with no other one behind them: those of the heads."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(network.get_results())
    while waiting:
        op = waiting.pop()
        name = op.get_friendly_name()
        if name in seen:
            continue
        seen.add(name)
        if op.get_type_name() in CONVOLUTIONS:
            found.add(name)
        else:
            waiting += [value.get_source_output().get_node() for value in op.inputs()]
    return sorted(found)
