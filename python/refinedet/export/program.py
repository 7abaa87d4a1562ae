"""A whole detector, images to detections, as a `torch.export` program."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..checks import check_choice
from ..detectors import Detector
from .checks import example_images

SUFFIX = ".pt2"


class _Detections(nn.Module):
    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        boxes, scores, labels, count = self.model.detect(self.model.head_outputs(images))
        return boxes, scores, labels, count


@torch.no_grad()
def export_program(
    model: Detector,
    path: str | os.PathLike[str] | None = None,
    *,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
) -> ExportedProgram:
    """A program with the detection inside; written to `path` (*.pt2) if one is given.

        refinedet.export.export_program(model, "model.pt2")
        import refinedet_ext                                   # brings the ops that the program calls
        boxes, scores, labels, count = torch.export.load("model.pt2").module()(images)

    images: (B, 3, H, W) float, pixels as `model.normalization` says. Results are those of `refinedet_ext.detect` with
    the model's thresholds and suppression at the time of the export: boxes (B, K, 4) as fractions of the input's width
    and height, scores (B, K), labels (B, K) int64, count (B,) int64.

    model: in eval mode. input_size: side of the input, which is fixed; None is the model's own. batch_size: images in
    a call. dynamic_batch: any number of images; for batch_size 2 or more.

    The file does not need this package's detectors, but `refinedet_ext`. Raises TypeError and ValueError for a model,
    path or option that does not fit.
    """
    images = example_images(model, input_size, batch_size)
    check_choice(dynamic_batch, "dynamic_batch", (True, False))
    if path is not None and os.path.splitext(path)[1] != SUFFIX:
        raise ValueError(f"path: expected a file name that ends in {SUFFIX}, got {os.fspath(path)!r}")
    if dynamic_batch and batch_size < 2:
        raise ValueError(
            f"batch_size: expected 2 or more with dynamic_batch, as torch takes 1 for fixed, got {batch_size}"
        )
    shapes = {"images": {0: Dim("batch", min=1)}} if dynamic_batch else None
    program = torch.export.export(_Detections(model).eval(), (images,), dynamic_shapes=shapes)
    if path is not None:
        torch.export.save(program, path)
    return program
