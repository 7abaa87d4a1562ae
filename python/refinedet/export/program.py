"""A whole detector, images to detections, as a `torch.export` program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ..detectors import Detector
from ..model_info import KEY, ModelInfo
from ..runtimes.session import DETECTIONS
from .checks import check_path, example_images
from .network import DetectionOutputs, describe
from .quiet import quiet
from .verify import Check, compare, write_checked

SUFFIX = ".pt2"


@torch.no_grad()
def export_program(
    model: Detector,
    path: str | os.PathLike[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    pixels: str = "float32",
) -> ExportedProgram:
    """A program with the detection inside; written to `path` (*.pt2) if one is given.

        refinedet.export.export_program(model, "model.pt2")
        import refinedet_ext                                   # brings the ops that the program calls
        boxes, scores, labels, count = torch.export.load("model.pt2").module()(images)

    images: (B, 3, H, W) as `pixels` says: "float32", normalized as `model.normalization` says; or "uint8", 0 to 255 in
    BGR order, which the program normalizes. Results are those of `refinedet_ext.detect` with the model's thresholds and
    suppression at the time of the export: boxes (B, K, 4) as fractions of the input's width and height, scores (B, K),
    labels (B, K) int64, count (B,) int64.

    model: in eval mode, float32. class_names: as for `export_onnx`. input_size: side of the input, which is fixed; None
    is the model's own. batch_size: images in a call. dynamic_batch: any number of images; for batch_size 2 or more.

    The file does not need this package's detectors, but `refinedet_ext`. It says itself what it is (see `ModelInfo`),
    as JSON in the extra file "refinedet". Before it takes its place it is opened again and compared with the model on
    1, 2 and 5 images, or as many as it takes. Raises TypeError and ValueError for a model, path or option that does not
    fit, and where the file does not give what the model does.
    """
    if path is None:
        return _program(model, example_images(model, input_size, batch_size, dynamic_batch, pixels), dynamic_batch)
    return write_program(
        model,
        path,
        class_names=class_names,
        input_size=input_size,
        batch_size=batch_size,
        dynamic_batch=dynamic_batch,
        pixels=pixels,
    )[0]


@torch.no_grad()
def write_program(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None,
    input_size: int | None,
    batch_size: int,
    dynamic_batch: bool,
    pixels: str,
) -> tuple[ExportedProgram, Check]:
    """`export_program` to a file, and what the comparison of the file with the model found."""
    images = example_images(model, input_size, batch_size, dynamic_batch, pixels)
    file = check_path(path, SUFFIX)
    info = describe(model, images, class_names, dynamic_batch=dynamic_batch, outputs="detections")
    program = _program(model, images, dynamic_batch)
    check = write_checked(
        file,
        lambda made: torch.export.save(program, made, extra_files={KEY: info.to_json()}),
        lambda made: compare(model, _Reopened(made, images.device), info),
    )
    return program, check


def _program(model: Detector, images: torch.Tensor, dynamic_batch: bool) -> ExportedProgram:
    shapes = {"images": {0: Dim("batch", min=1)}} if dynamic_batch else None
    with quiet():
        return torch.export.export(DetectionOutputs(model, images).eval(), (images,), dynamic_shapes=shapes)


class _Reopened:
    """A written program as a `Session`, on the device that its model was on."""

    precision = "float32"

    def __init__(self, path: Path, device: torch.device) -> None:
        extra = {KEY: ""}
        self._run = torch.export.load(path, extra_files=extra).module()
        self.info = ModelInfo.from_json(extra[KEY], source=str(path))
        self.runtime, self._device = f"torch {torch.__version__}", device

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        found = self._run(torch.from_numpy(images).to(self._device))
        return {name: value.cpu().numpy() for name, value in zip(DETECTIONS, found, strict=True)}
