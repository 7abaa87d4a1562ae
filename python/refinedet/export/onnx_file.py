"""A network as an ONNX graph of standard operations, with the detection step or without."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..checks import check_choice
from ..detectors import Detector
from ..extras import install_command
from ..model_info import KEY, ModelInfo
from ..runtimes.files import is_installed
from ..runtimes.open import open_session
from ..runtimes.session import output_names
from .checks import check_path, example_images
from .network import DetectInOneOp, RawOutputs, describe
from .onnx_ops import OPSET, translations
from .quiet import quiet
from .verify import Check, compare, write_checked

SUFFIX = ".onnx"
NEEDED = ("onnx", "onnxscript")
CHECKED_IN = ("onnxruntime", "openvino")
"""The first of them that is installed."""


@torch.no_grad()
def export_onnx(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    class_names: Sequence[str] | None = None,
    input_size: int | None = None,
    batch_size: int = 1,
    dynamic_batch: bool = False,
    end_to_end: bool = False,
    pixels: str = "float32",
) -> Check:
    """Write a network as an ONNX file that says itself what it is (see `ModelInfo`), and check it.

    Input "images" (B, 3, H, W) as `pixels` says: "float32", normalized as `model.normalization` says; or "uint8", 0 to
    255 in BGR order, which the file normalizes.

    Outputs are those of `HeadOutputs`: "arm_logits" (B, A, 2), "arm_deltas" (B, A, 4), "odm_logits" (B, A,
    num_classes), "odm_deltas" (B, A, 4) and "anchors" (A, 4). What turns them into boxes is `refinedet_ext.detect`, or
    `refinedet_ext.numpy.detect` without torch:

        import onnxruntime, refinedet_ext.numpy as rxn
        session = onnxruntime.InferenceSession("model.onnx")
        found = rxn.detect(*session.run(None, {"images": images}))

    With end_to_end they are those of `refinedet_ext.detect` with the model's thresholds and suppression: "boxes"
    (B, K, 4) float32 as fractions of the input's width and height, "scores" (B, K) float32, "labels" (B, K) int64 from
    1 on, by falling score, and "count" (B,) int64; behind count all are 0.

    The graph has operations of opset 19 alone: a transfer connection block is ConvTranspose, Slice, Add and Relu; the
    detection step NonMaxSuppression, TopK and smaller ones; an aligned convolution is DeformConv, which not every
    runtime has.

    model: in eval mode, float32. path: *.onnx; weights are inside. class_names: of the labels 1, 2, ...; None names
    them "class 1" and so on. input_size: side of the input, which is fixed; None is the model's own. batch_size: images
    in a call. dynamic_batch: any number of them; for batch_size 2 or more.

    The file is opened again, in ONNX Runtime or, without it, in OpenVINO, and compared with the model on 1, 2 and 5
    images, or as many as it takes; only then it takes its place. Returns what was found.

    Raises TypeError and ValueError for a model, path or option that does not fit (ONNX has no soft suppression), and
    where the file does not give what the model does; ImportError without onnx, onnxscript and one of the runtimes.
    """
    images = example_images(model, input_size, batch_size, dynamic_batch, pixels)
    check_choice(end_to_end, "end_to_end", (True, False))
    file = check_path(path, SUFFIX)
    if end_to_end:
        check_hard(model)
    opset, runtime = _opset(), _runtime()
    outputs = "detections" if end_to_end else "raw"
    info = describe(model, images, class_names, dynamic_batch=dynamic_batch, outputs=outputs)

    def write(made: Path) -> None:
        with quiet():
            _program(model, images, info, opset).save(made, external_data=False)

    return write_checked(file, write, lambda made: compare(model, open_session(made, runtime), info))


def check_hard(model: Detector) -> None:
    """ValueError for a suppression that ONNX has no operation for."""
    nms = model.nms
    if nms.method != "hard":
        raise ValueError(
            f"nms: expected hard suppression (preset code, paper or efgrnet) with end_to_end, as ONNX has no soft one, "
            f"got method {nms.method!r}"
        )


def _program(model: Detector, images: torch.Tensor, info: ModelInfo, opset: Any) -> Any:
    """An `onnx` program of torch with the description in its metadata."""
    network = (DetectInOneOp if info.outputs == "detections" else RawOutputs)(model, images).eval()
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}} if info.batch is None else None
    program = torch.onnx.export(
        torch.export.export(network, (images,), dynamic_shapes=shapes),
        input_names=["images"],
        output_names=list(output_names(info)),
        opset_version=OPSET,
        dynamo=True,
        custom_translation_table=translations(opset, model.nms.keep_per_class),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props[KEY] = info.to_json()
    return program


def _opset() -> Any:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise _missing(*missing, what="export to ONNX")
    return importlib.import_module("onnxscript").opset19


def _runtime() -> str:
    for name in CHECKED_IN:
        if is_installed(name):
            return name
    raise _missing(CHECKED_IN[0], what="the check of the ONNX file")


def _missing(*packages: str, what: str) -> ImportError:
    return ImportError(
        f"{what} needs the package{'s' * (len(packages) > 1)} {' and '.join(packages)}, not installed here: "
        f"{install_command(*packages)}"
    )
