"""The raw network as an ONNX graph of standard operations."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_choice
from ..detectors import Detector
from ..extras import install_command
from ..outputs import HeadOutputs
from .checks import example_images
from .onnx_ops import OPSET, translations

SUFFIX = ".onnx"
NEEDED = ("onnx", "onnxscript")


class _RawOutputs(nn.Module):
    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.head_outputs(images))


@torch.no_grad()
def export_onnx(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
) -> None:
    """Write the network without the detection step: image in, raw outputs of both stages out.

    Input "images" (B, 3, H, W) float32, pixels as `model.normalization` says. Outputs as `HeadOutputs`: "arm_logits"
    (B, A, 2), "arm_deltas" (B, A, 4), "odm_logits" (B, A, num_classes), "odm_deltas" (B, A, 4) and "anchors" (A, 4).
    What turns them into boxes is `refinedet_ext.detect`, or `refinedet_ext.numpy.detect` without torch:

        import onnxruntime, refinedet_ext.numpy as rxn
        session = onnxruntime.InferenceSession("model.onnx")
        found = rxn.detect(*session.run(None, {"images": images}))

    The graph has operations of opset 19 alone: a transfer connection block is ConvTranspose, Slice, Add and Relu; an
    aligned convolution is DeformConv, which not every runtime has.

    model: in eval mode. path: *.onnx; weights are inside. input_size: side of the input, which is fixed; None is the
    model's own. batch_size: images in a call. dynamic_batch: any number of them; for batch_size 2 or more.

    Raises TypeError and ValueError for a model, path or option that does not fit, ImportError without onnx and
    onnxscript.
    """
    images = example_images(model, input_size, batch_size)
    check_choice(dynamic_batch, "dynamic_batch", (True, False))
    if os.path.splitext(path)[1] != SUFFIX:
        raise ValueError(f"path: expected a file name that ends in {SUFFIX}, got {os.fspath(path)!r}")
    if dynamic_batch and batch_size < 2:
        raise ValueError(
            f"batch_size: expected 2 or more with dynamic_batch, as torch takes 1 for fixed, got {batch_size}"
        )
    opset = _opset()
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}} if dynamic_batch else None
    program = torch.export.export(_RawOutputs(model).eval(), (images,), dynamic_shapes=shapes)
    written = torch.onnx.export(
        program,
        input_names=["images"],
        output_names=list(HeadOutputs._fields),
        opset_version=OPSET,
        dynamo=True,
        custom_translation_table=translations(opset),
        verbose=False,
    )
    assert written is not None
    written.save(path, external_data=False)


def _opset() -> Any:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"export to ONNX needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)}, not installed here: "
            f"{install_command(*missing)}"
        )
    return importlib.import_module("onnxscript").opset19
