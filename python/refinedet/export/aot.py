"""A whole detector as machine code, by AOTInductor: for C++ programs without Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..detectors import Detector
from ..weights import check_names
from .checks import example_images
from .program import SUFFIX


class _FromPixels(nn.Module):
    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(images))


@torch.no_grad()
def export_aot(
    model: Detector,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    *,
    input_size: int | None = None,
    batch_size: int = 1,
) -> Path:
    """Compiles a detector, pixels to detections, into an AOTInductor package `path` (*.pt2); returns the path.

        refinedet.export.export_aot(model, "model.aot.pt2", class_names)
        boxes, scores, labels, count = torch._inductor.aoti_load_package("model.aot.pt2")(pixels)

    pixels: (batch_size, 3, input_size, input_size) uint8 in BGR order. Results as of `export_program`. The package's
    metadata has "input_size", "batch_size" and "class_names", one a line, of the labels 1, 2, ...

    Needs a C++ compiler, and takes it a minute or more. The package runs with this version of torch, on processors that
    have the instructions of this one, or on GPUs like the model's. Whoever runs it loads the ops of `refinedet_ext`
    first (`_torch_ops.so`): see examples/cpp/detect_image.cpp.

    model: in eval mode. class_names: None where they are not known. input_size: None is the model's own. TypeError or
    ValueError for a model, path or option that does not fit.
    """
    from torch._inductor import aoti_compile_and_package

    images = example_images(model, input_size, batch_size)
    if os.path.splitext(path)[1] != SUFFIX:
        raise ValueError(f"path: expected a file name that ends in {SUFFIX}, got {os.fspath(path)!r}")
    names = [] if class_names is None else check_names(class_names, model.num_classes)
    if any("\n" in name for name in names):
        raise ValueError(f"class_names: expected names without line breaks, got {list(names)}")
    metadata = {"input_size": str(images.shape[-1]), "batch_size": str(batch_size), "class_names": "\n".join(names)}
    program = torch.export.export(_FromPixels(model).eval(), (images.to(torch.uint8),))
    return Path(
        aoti_compile_and_package(
            program, package_path=os.fspath(path), inductor_configs={"aot_inductor.metadata": metadata}
        )
    )
