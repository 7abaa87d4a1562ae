"""The same network on other runtimes, and torchvision's detectors, ready to be timed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .case import PEER_TOLERANCES, check_close
from .peers import optional

Network = Callable[[Tensor], Any]  # images to raw outputs, anchors last
LEAST_FOUND = 20  # detections that a network of random weights must have left to suppress


def contiguous(model: Any, images: Tensor, dtype: torch.dtype) -> Network:
    cast = copy.deepcopy(model).to(memory_format=torch.contiguous_format).to(dtype)
    return lambda x: cast.head_outputs(x.contiguous().to(dtype))


def channels_last(model: Any, images: Tensor, dtype: torch.dtype) -> Network:
    cast = copy.deepcopy(model).to(memory_format=torch.channels_last).to(dtype)
    return lambda x: cast.head_outputs(x.to(dtype).contiguous(memory_format=torch.channels_last))


def onnx_file(model: Any, images: Tensor, folder: str) -> Path:
    from refinedet.export import export_onnx

    path = Path(folder) / "network.onnx"
    export_onnx(model, path, input_size=images.shape[2], batch_size=images.shape[0])
    return path


def onnx_runtime(model: Any, images: Tensor, dtype: torch.dtype) -> Network:
    """float32 only: its CPU kernels have no bfloat16."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            str(onnx_file(model, images, folder)), options, providers=["CPUExecutionProvider"]
        )
    return lambda x: tensors(session.run(None, {"images": x.contiguous().numpy()}))


def openvino(model: Any, images: Tensor, dtype: torch.dtype) -> Network:
    runtime = optional("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype],
        "ENABLE_CPU_PINNING": False,
    }
    from refinedet.runtimes.openvino_ops import extensions

    core = runtime.Core()
    for extension in extensions():
        core.add_extension(extension)
    with tempfile.TemporaryDirectory() as folder:
        network = core.compile_model(core.read_model(str(onnx_file(model, images, folder))), "CPU", settings)
    return lambda x: tensors(list(network([x.contiguous().numpy()]).to_dict().values()))


def tensors(arrays: Sequence[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]


def torchvision_deform(model: Any, images: Tensor, dtype: torch.dtype) -> Network:
    """The plain network, channels-last, with torchvision's deformable convolution in place of ours."""
    import refinedet_ext as rx

    vision = optional("torchvision.ops")
    plain = channels_last(model, images, dtype)

    def deform(x: Tensor, offset: Any, weight: Tensor, bias: Any = None, *steps: Any, center: Any = None) -> Tensor:
        rest: tuple[Any, ...] = (1, 0, 1, None)[len(steps) :]
        stride, padding, dilation, mask = (*steps, *rest)
        if center is not None:
            offset = (0 if offset is None else offset) + center.repeat(1, weight.shape[2] * weight.shape[3], 1, 1)
        return vision.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)

    def run(x: Tensor) -> Any:
        ours = rx.deform_align
        rx.deform_align = deform  # type: ignore[assignment]
        try:
            return plain(x)
        finally:
            rx.deform_align = ours

    return run


def agrees(model: Any, network: Network, images: Tensor, dtype: torch.dtype) -> None:
    """AssertionError unless a network's raw outputs are the model's, up to what the dtype rounds: in bfloat16 as far
    off as the plain network in bfloat16 is, and half as much again."""
    from refinedet import HeadOutputs

    with torch.inference_mode():
        expected, got = model.head_outputs(images), network(images)
        plain = expected if dtype == torch.float32 else channels_last(model, images, dtype)(images)
    for name, theirs, usual, wanted in zip(HeadOutputs._fields, got, plain, expected, strict=True):
        allowed = max(PEER_TOLERANCES["float32"], 1.5 * float((usual.float() - wanted).norm() / wanted.norm()))
        try:
            check_close(theirs.float(), wanted, allowed)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def ssd(name: str, images: Tensor) -> tuple[Network, Tensor]:
    """torchvision's detector of that name, random weights, channels-last, images as it takes them; to detections.

    Its score threshold is set so that about as many candidates go into its suppression as with a trained one.
    """
    torch.manual_seed(0)
    vision = optional("torchvision.models.detection")
    model = getattr(vision, name)(weights=None, weights_backbone=None, num_classes=21).eval()
    with torch.inference_mode():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train().momentum = 1.0
        image = (images[0] / 255 + 0.5).clamp(0, 1)
        pair = [image, image.flip(2)]  # a norm over a single cell needs two
        transformed, _ = model.transform(pair)
        features = list(model.backbone.train()(transformed.tensors).values())
        model.eval()
        scores = model.head(features)["cls_logits"].softmax(-1)[..., 1:].flatten()
    model.score_thresh = float(scores.topk(min(1400, len(scores))).values[-1])
    model = model.to(memory_format=torch.channels_last)
    return (lambda x: model([x])[0]), image
