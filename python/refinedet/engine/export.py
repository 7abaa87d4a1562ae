"""`refinedet export`: a model file as a file for other runtimes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import check_integer
from ..export import export_aot, export_efficient_nms, export_int8, export_onnx, export_openvino
from ..export.program import write_program
from ..folders import check_file
from ..weights import Checkpoint, load_model
from .config import DataConfig
from .quantize import average_precision, calibration_images
from .splits import open_split

SUFFIXES = {"pt2": ".pt2", "onnx": ".onnx", "openvino": ".xml"}
KINDS_WITH = {
    "end_to_end": ("onnx", "openvino"),
    "efficient_nms": ("onnx",),
    "int8": ("onnx", "openvino"),
    "aot": ("pt2",),
}
"""By option, the formats that have it."""


@dataclass(frozen=True)
class ExportOptions:
    """The options of `refinedet export`, which says what they mean. ValueError for those that do not go together."""

    output: str | None = None
    format: str | None = None
    input_size: int | None = None
    batch_size: int = 1
    dynamic_batch: bool = False
    nms: str | Mapping[str, Any] | None = None
    pixels: str = "float32"
    end_to_end: bool = False
    efficient_nms: bool = False
    int8: bool = False
    calibration_images: int = 300
    max_loss: float = 1.0
    aot: bool = False

    def __post_init__(self) -> None:
        if self.output is None and self.format is None:
            raise ValueError(f"output, format: expected one of them, a file or {', '.join(SUFFIXES)}, got none")
        suffix = None if self.output is None else Path(self.output).suffix
        if suffix is not None and suffix not in SUFFIXES.values():
            endings = " or ".join(SUFFIXES.values())
            raise ValueError(f"output: expected a file name that ends in {endings}, got {self.output!r}")
        if suffix is not None and self.format is not None and suffix != SUFFIXES[self.format]:
            raise ValueError(f"output: expected {SUFFIXES[self.format]} as for {self.format}, got {self.output!r}")
        check_integer(self.calibration_images, "calibration_images", 1)
        for option, kinds in KINDS_WITH.items():
            if getattr(self, option) and self.kind not in kinds:
                raise ValueError(f"{option}: expected format {' or '.join(kinds)} with it, got {self.kind}")
        if self.efficient_nms and not self.end_to_end:
            raise ValueError("efficient_nms: expected false without end_to_end, got true")
        if self.aot and self.dynamic_batch:
            raise ValueError("dynamic_batch: expected false with aot, got true")
        if self.int8 and self.end_to_end and self.kind != "onnx":
            raise ValueError(f"end_to_end: expected format onnx with it and int8, got {self.kind}")
        if self.int8 and self.efficient_nms:
            raise ValueError("efficient_nms: expected false with int8, got true")

    @property
    def kind(self) -> str:
        """Which of `SUFFIXES`."""
        if self.format is not None:
            return self.format
        assert self.output is not None
        return next(kind for kind, suffix in SUFFIXES.items() if suffix == Path(self.output).suffix)


def export(weights: str | os.PathLike[str], options: ExportOptions, data: DataConfig | None = None) -> str:
    """Write the file; returns one line on it, its size and what its comparison with the model has found.

    data: the data set with `options.int8`; else nothing may be said about it. ValueError if its classes are named, and
    are others than those that the model's file names; else errors of `load_model` and of the functions of
    `refinedet.export`.
    """
    if not options.int8 and data not in (None, DataConfig()):
        raise ValueError("data: expected nothing without int8, got a data set")
    if options.int8 and (data is None or data == DataConfig()):
        raise ValueError("data.root: expected the folder of a data set to calibrate on with int8, got nothing")
    output = Path(weights).with_suffix(SUFFIXES[options.kind]) if options.output is None else Path(options.output)
    output = check_file(output)
    changes: dict[str, Any] = {} if options.nms is None else {"nms": options.nms}
    checkpoint = load_model(weights, **changes)
    check = _write(checkpoint, output, options, data)
    files = [output, output.with_suffix(".bin")] if options.kind == "openvino" else [output]
    return f"{output}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB, {check}"


def _write(checkpoint: Checkpoint, output: Path, options: ExportOptions, data: DataConfig | None) -> Any:
    common: dict[str, Any] = {
        "class_names": checkpoint.class_names,
        "input_size": options.input_size,
        "batch_size": options.batch_size,
        "dynamic_batch": options.dynamic_batch,
        "pixels": options.pixels,
    }
    model = checkpoint.model
    if options.int8:
        assert data is not None
        return _write_int8(checkpoint, output, options, data, common)
    if options.aot:
        export_aot(model, output, checkpoint.class_names, input_size=options.input_size, batch_size=options.batch_size)
        return "compiled for this processor"
    if options.kind == "pt2":
        return write_program(model, output, **common)[1]
    if options.efficient_nms:
        return export_efficient_nms(model, output, **common)
    run = export_onnx if options.kind == "onnx" else export_openvino
    return run(model, output, end_to_end=options.end_to_end, **common)


def _write_int8(
    checkpoint: Checkpoint, output: Path, options: ExportOptions, data: DataConfig, common: dict[str, Any]
) -> Any:
    known, wanted = checkpoint.class_names, data.classes
    if known is not None and isinstance(wanted, list) and wanted != known:
        raise ValueError(f"data.classes: expected nothing, or {known} as in the model's file, got {wanted}")
    train = open_split(data, "train", known)
    val = open_split(data, "val", train.class_names)
    side = checkpoint.model.input_side(options.input_size)
    return export_int8(
        checkpoint.model,
        output,
        calibration_images(train, side, options.calibration_images),
        average_precision(val, batch_size=data.eval_batch_size, workers=data.workers),
        max_loss=options.max_loss,
        end_to_end=options.end_to_end,
        **common,
    )
