"""A network in 8-bit integers: post-training quantisation, calibrated on training images, and what it costs."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..checks import check_choice, check_integer, check_range
from ..detectors import Detector
from ..extras import import_optional
from ..runtimes import RuntimeModel
from ..runtimes.open import open_session
from . import int8_onnx, int8_openvino
from .checks import check_path, example_images
from .int8_parts import PARTS
from .onnx_file import SUFFIX as ONNX_SUFFIX
from .onnx_file import check_hard, export_onnx
from .openvino_file import SUFFIX as OPENVINO_SUFFIX
from .verify import write_checked

logger = logging.getLogger(__name__)

Measure = Callable[[RuntimeModel], float]


class Quantizer(Protocol):
    """What a module has to have. RUNTIME: which runs its files. NEEDS: the packages that are imported.

    prepare: makes the runtime's own file in float32 of an ONNX file, and returns its path. quantize: writes that file
    in 8 bits, the ranges from images (3, H, W) uint8; part: which of `PARTS`.
    """

    @property
    def RUNTIME(self) -> str: ...
    @property
    def NEEDS(self) -> tuple[str, ...]: ...
    def prepare(self, graph: Path, path: Path) -> Path: ...
    def quantize(self, source: Path, calibration: Sequence[np.ndarray], part: str, path: Path) -> None: ...


QUANTIZERS: dict[str, Quantizer] = {ONNX_SUFFIX: int8_onnx, OPENVINO_SUFFIX: int8_openvino}
"""By the suffix of the file."""


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
    end_to_end: bool = False,
    pixels: str = "float32",
) -> Int8Check:
    """Write a network in 8-bit integers and measure it.

    path: *.onnx, quantised by ONNX Runtime; or OpenVINO's *.xml, with its weights in *.bin, quantised by NNCF.
    calibration: images (3, H, W) uint8 in BGR order of the input's size, whose activations say the ranges of the
        integers: some hundred of those that the model was trained on.
    measure: the metric, in points of 100, of a model on images that it was not trained on; it is called with the
        network in float32 and with the file.
    max_loss: points that the file may lose. Where it loses more, the last layers, and then the first one, too, stay in
        float. Deformable convolutions always do.
    end_to_end: of *.onnx: detections in place of raw outputs. What makes them of the raw outputs stays in float.
    The others: as for `export_onnx`.

    The file takes its place when it has been opened again and measured. ValueError where it loses more in any case, and
    for images and options that do not fit; ImportError without onnx, onnxscript and the runtime, and for *.xml nncf.
    """
    images = example_images(model, input_size, batch_size, dynamic_batch, pixels)
    suffix = Path(path).suffix
    if suffix not in QUANTIZERS:
        raise ValueError(f"path: expected a file name that ends in {' or '.join(QUANTIZERS)}, got {os.fspath(path)!r}")
    file = check_path(path, suffix)
    check_choice(end_to_end, "end_to_end", (True, False))
    if end_to_end and suffix != ONNX_SUFFIX:
        raise ValueError(f"end_to_end: expected false with {suffix}, whose 8-bit files have raw outputs, got true")
    if end_to_end:
        check_hard(model)
    check_range(max_loss, "max_loss", 0, 100)
    check_integer(len(calibration), "calibration: images", 1)
    for image in calibration:
        if image.dtype != np.uint8 or image.shape != images.shape[1:]:
            raise ValueError(
                f"calibration: expected uint8 of shape {tuple(images.shape[1:])}, got {image.dtype} of {image.shape}"
            )
    quantizer = QUANTIZERS[suffix]
    for package in quantizer.NEEDS:
        import_optional(package, f"quantisation to {suffix}")
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / f"graph{ONNX_SUFFIX}"
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
        whole = quantizer.prepare(graph, Path(folder) / f"float{suffix}")
        before, size = _measure(whole, quantizer.RUNTIME, measure)[1], _bytes(whole)
        logger.info("float32: AP %.2f", before)

        def check(made: Path, part: str) -> Int8Check:
            runtime, after = _measure(made, quantizer.RUNTIME, measure)
            logger.info("int8, %s: AP %.2f", part, after)
            if before - after > max_loss:
                raise _LosesTooMuch(after)
            return Int8Check(runtime, before, after, part, len(calibration), _bytes(made) / size)

        after = before
        for part in PARTS:
            write = partial(quantizer.quantize, whole, calibration, part)
            try:
                return write_checked(file, write, partial(check, part=part))
            except _LosesTooMuch as error:
                after = error.after
    other = "" if suffix == ONNX_SUFFIX else f"; ONNX Runtime's quantisation, to a {ONNX_SUFFIX} file, may lose less"
    raise ValueError(
        f"max_loss: expected at most {max_loss:g} points lost in int8, got {before - after:.2f} of {before:.2f} with "
        f"{PARTS[-1]} in 8 bits{other}"
    )


class _LosesTooMuch(Exception):
    def __init__(self, after: float) -> None:
        super().__init__(after)
        self.after = after


def _measure(file: Path, runtime: str, measure: Measure) -> tuple[str, float]:
    """The runtime's name and version, and the metric of a file in it."""
    session = open_session(file, runtime)
    return session.runtime, measure(RuntimeModel(session, session.info))


def _bytes(path: Path) -> int:
    """Of a file, and for OpenVINO of its weights."""
    return sum(file.stat().st_size for file in (path, path.with_suffix(".bin")) if file.exists())
