"""A whole detector as machine code, by AOTInductor: for C++ programs without Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..detectors import Detector
from ..model_info import KEY, ModelInfo
from ..runtimes.session import DETECTIONS
from .checks import check_path, example_images
from .network import DetectionOutputs, describe
from .program import SUFFIX
from .verify import Check, compare, write_checked


@torch.no_grad()
def export_aot(
    model: Detector,
    path: str | os.PathLike[str],
    class_names: Sequence[str] | None = None,
    *,
    input_size: int | None = None,
    batch_size: int = 1,
) -> Check:
    """Compiles a detector, pixels to detections, into an AOTInductor package `path` (*.pt2).

        refinedet.export.export_aot(model, "model.aot.pt2", class_names)
        boxes, scores, labels, count = torch._inductor.aoti_load_package("model.aot.pt2")(pixels)

    pixels: (batch_size, 3, input_size, input_size) uint8 in BGR order. Results as of `export_program`. The package's
    metadata has "input_size", "batch_size" and "class_names", one a line, of the labels 1, 2, ..., and as "refinedet"
    what other exports say, too, see `ModelInfo`. Returns what its comparison with the model found.

    Needs a C++ compiler, and takes it a minute or more. The package runs with this version of torch, on processors that
    have the instructions of this one, or on GPUs like the model's. Whoever runs it loads the ops of `refinedet_ext`
    first (`_torch_ops.so`): see examples/cpp/detect_image.cpp.

    model: in eval mode. class_names: None where they are not known. input_size: None is the model's own. TypeError or
    ValueError for a model, path or option that does not fit.
    """
    from torch._inductor import aoti_compile_and_package

    file = check_path(path, SUFFIX)
    images = example_images(model, input_size, batch_size, dynamic_batch=False, pixels="uint8")
    info = describe(model, images, class_names, dynamic_batch=False, outputs="detections")
    if any("\n" in name for name in info.classes):
        raise ValueError(f"class_names: expected names without line breaks, got {list(info.classes)}")
    metadata = {
        "input_size": str(images.shape[-1]),
        "batch_size": str(batch_size),
        "class_names": "\n".join(info.classes),
        KEY: info.to_json(),
    }
    program = torch.export.export(DetectionOutputs(model, images).eval(), (images,))

    def write(made: Path) -> None:
        configs = {"aot_inductor.metadata": metadata}
        aoti_compile_and_package(program, package_path=os.fspath(made), inductor_configs=configs)

    return write_checked(file, write, lambda made: compare(model, _Package(made, images.device), info))


class _Package:
    """A compiled package as a `Session`, on the device that its model was on."""

    precision = "float32"

    def __init__(self, path: Path, device: torch.device) -> None:
        from torch._inductor import aoti_load_package

        self._run = aoti_load_package(os.fspath(path))
        metadata = self._run.loader.get_metadata()
        self.info = ModelInfo.from_json(metadata[KEY], source=str(path))
        self.runtime, self._device = f"AOTInductor of torch {torch.__version__}", device

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        found = self._run(torch.from_numpy(images).to(self._device))
        return {name: value.cpu().numpy() for name, value in zip(DETECTIONS, found, strict=True)}
