"""A network in 8-bit integers: post-training quantisation by NNCF, calibrated on training images."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import check_integer, check_range
from ..detectors import Detector
from ..extras import import_optional
from ..model_info import ModelInfo
from ..runtimes import RuntimeModel
from ..runtimes.model import normalize
from ..runtimes.open import open_session
from .checks import check_path, example_images
from .onnx_file import SUFFIX as ONNX_SUFFIX
from .onnx_file import export_onnx
from .openvino_file import SUFFIX, read_onnx, save, with_precision
from .quiet import quiet
from .verify import write_checked

logger = logging.getLogger(__name__)

Measure = Callable[[RuntimeModel], float]

PARTS = ("all layers", "all but the last layers", "all but the first and last layers")
"""What is quantised, from the most to the least."""
FLOAT_OPS = ("DeformableConvolution",)
"""By their types in OpenVINO: they sample between pixels, by offsets that 8 bits would round."""
CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")
MANY = 1000  # numbers of a constant that is worth it
WITH_WEIGHTS = {*CONVOLUTIONS, "FakeQuantize", "Multiply", "Reshape", "ShapeOf"}
"""What stands between weights and their convolution, and not behind anchors and biases."""


@dataclass(frozen=True)
class Int8Check:
    """What a quantised file was measured to be.

    runtime: its name and version. before, after: the metric of the network in float32 and of the file. quantised: one
    of `PARTS`. calibration: how many images the ranges were taken from. size: of the file over that in float32.
    """

    runtime: str
    before: float
    after: float
    quantised: str
    calibration: int
    size: float

    def __str__(self) -> str:
        return (
            f"AP {self.before:.1f} in float32, {self.after:.1f} in int8 ({self.quantised}, calibrated on "
            f"{self.calibration} images), {self.size:.2f} of the size, in {self.runtime}"
        )


@torch.no_grad()
def export_int8(
    model: Detector,
    path: str | os.PathLike[str],
    calibration: Sequence[np.ndarray],
    measure: Measure,
    *,
    max_loss: float = 1.0,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    pixels: str = "float32",
) -> Int8Check:
    """Write a network in 8-bit integers as an OpenVINO file (*.xml and *.bin), raw outputs, and measure it.

    calibration: images (3, H, W) uint8 in BGR order of the input's size, whose activations say the ranges of the
        integers: some hundred of those that the model was trained on.
    measure: the metric, in points of 100, of a model on images that it was not trained on; it is called with the
        network in float32 and with the file.
    max_loss: points that the file may lose. Where it loses more, the last layers, and then the first one, too, stay in
        float. Deformable convolutions always do.
    The others: as for `export_openvino`.

    The file takes its place when it has been opened again and measured. ValueError where it loses more in any case, and
    for images and options that do not fit; ImportError without nncf, openvino, onnx and onnxscript.
    """
    images = example_images(model, input_size, batch_size, dynamic_batch, pixels)
    file = check_path(path, SUFFIX)
    check_range(max_loss, "max_loss", 0, 100)
    check_integer(len(calibration), "calibration: images", 1)
    for image in calibration:
        if image.dtype != np.uint8 or image.shape != images.shape[1:]:
            raise ValueError(
                f"calibration: expected uint8 of shape {tuple(images.shape[1:])}, got {image.dtype} of {image.shape}"
            )
    for package in ("openvino", "nncf"):
        import_optional(package, "quantisation")
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / f"model{ONNX_SUFFIX}"
        export_onnx(
            model,
            graph,
            class_names=class_names,
            input_size=input_size,
            batch_size=batch_size,
            dynamic_batch=dynamic_batch,
            pixels=pixels,
        )
        network, info = read_onnx(graph)
        whole = Path(folder) / f"float{SUFFIX}"
        save(network, info, whole)
        before = measure(RuntimeModel(open_session(whole, "openvino"), info))
        size = _bytes(whole)
    logger.info("float32: AP %.2f", before)

    def check(made: Path, part: str) -> Int8Check:
        session = open_session(made, "openvino")
        after = measure(RuntimeModel(session, session.info))
        logger.info("int8, %s: AP %.2f", part, after)
        if before - after > max_loss:
            raise _LosesTooMuch(after)
        return Int8Check(session.runtime, before, after, part, len(calibration), _bytes(made) / size)

    lost = 0.0
    described = with_precision(info, "int8")
    for part in PARTS:
        small = quantize(network, info, calibration, part)
        try:
            return write_checked(file, partial(save, small, described), partial(check, part=part))
        except _LosesTooMuch as error:
            lost = before - error.after
    raise ValueError(
        f"max_loss: expected at most {max_loss:g} points lost in int8, got {lost:.2f} of {before:.2f} with {PARTS[-1]} "
        "in 8 bits"
    )


class _LosesTooMuch(Exception):
    def __init__(self, after: float) -> None:
        super().__init__(after)
        self.after = after


def quantize(network: Any, info: ModelInfo, calibration: Sequence[np.ndarray], part: str) -> Any:
    """A quantised copy of an `openvino.Model`. part: which of `PARTS`."""
    import nncf

    batch = info.batch or 1

    def feed(image: np.ndarray) -> np.ndarray:
        pixels = np.repeat(image[None], batch, axis=0)
        return pixels if info.pixels == "uint8" else normalize(pixels, info)

    floats = [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in FLOAT_OPS]
    if part != PARTS[0]:
        floats += last_convolutions(network)
    if part == PARTS[2]:
        floats.append(next(convolutions(network)))
    with quiet():
        small = nncf.quantize(
            network,
            nncf.Dataset(list(calibration), feed),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=sorted(set(floats))),
        )
    store_in_half(small)
    return small


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


def _bytes(path: Path) -> int:
    """Of an OpenVINO file and its weights."""
    return sum(file.stat().st_size for file in (path, path.with_suffix(".bin")))
