"""Whole detectors on the GPU: image to detections in one CUDA graph, and what comes after the last convolution."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ..case import Target
from ..detectors.bench_detectors import as_trained, model_of, random_images, with_statistics
from ..peers import torchvision_ops
from .box_cases import plain_detect, synchronizing
from .case import MICROSECONDS, GpuCase, GpuPeer

# model, images, targets of the whole
NETWORKS: tuple[tuple[str, int, tuple[Target, ...]], ...] = (
    ("refinedet320_vgg16", 1, (Target(1000, MICROSECONDS),)),
    ("refinedet320_vgg16", 32, ()),
    ("efgrnet320_vgg16", 1, ()),
    ("refinedetlite320_res2netlite72", 1, ()),
)
NETWORK, WHOLE = "the network alone", "the whole"


@lru_cache(maxsize=1)
def model_inputs(name: str, images: int, device: str) -> tuple[Any, Tensor]:
    """The model in bfloat16 and images for it. Its weights are random: its thresholds are set so that as many anchors
    and scores pass as with a trained one."""
    model = model_of(name)
    pixels = random_images(model, images).to(device)
    model = as_trained(with_statistics(model.to(device), pixels), pixels[:1])
    return model.to(torch.bfloat16), pixels.to(torch.bfloat16)


def output_inputs(name: str, images: int, device: str) -> tuple[Any, ...]:
    """The model and what its heads give, in float32."""
    model, pixels = model_inputs(name, images, device)
    with torch.inference_mode():
        outputs = model.head_outputs(pixels)
    return model, pixels, *(t.float() for t in outputs)


def whole(model: Any, pixels: Tensor, *outputs: Tensor) -> Any:
    with torch.inference_mode():
        return model(pixels)


def network(model: Any, pixels: Tensor) -> Any:
    with torch.inference_mode():
        return model.head_outputs(pixels)


def tail(model: Any, pixels: Tensor, *outputs: Tensor) -> Any:
    with torch.inference_mode():
        return model.detect(_as_outputs(outputs))


def tail_on_cpu(model: Any, pixels: Tensor, *outputs: Tensor) -> Any:
    return model.detect(_as_outputs(tuple(t.cpu() for t in outputs)))


def network_then_tail_on_cpu(model: Any, pixels: Tensor) -> Any:
    return tail_on_cpu(model, pixels, *network(model, pixels))


def usual(model: Any, pixels: Tensor) -> Tensor:
    """The same network, and plain torch with torchvision's suppression behind it."""
    return plain_detect(torchvision_ops().batched_nms, *(t.float() for t in network(model, pixels)))


def _as_outputs(outputs: tuple[Tensor, ...]) -> Any:
    from refinedet import HeadOutputs

    return HeadOutputs(*outputs)


def nearly_same(got: rx.Detections, expected: rx.Detections) -> None:
    """Convolutions may sum in another order from call to call, and a last bit may decide what is suppressed."""
    difference = int((got.count.cpu() - expected.count.cpu()).abs().max())
    assert difference <= 4, f"count: expected {expected.count.tolist()}, got {got.count.tolist()}"
    scores, reference = got.scores.float().cpu(), expected.scores.float().cpu()
    error = float((scores - reference).norm() / reference.norm().clamp(min=1e-30))
    assert error < 2e-2, f"scores: relative error {error:.1e}"


def network_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    for name, images, targets in [("refinedet192_small", 1, ())] if small else NETWORKS:
        yield GpuCase(
            "detector",
            f"{name}, B={images}, bfloat16",
            whole,
            partial(model_inputs, name, images, device),
            network_then_tail_on_cpu,
            {
                "with torchvision's suppression": synchronizing(vision and usual),
                NETWORK: GpuPeer(network, another=True),
            },
            dtype="bfloat16",
            compare=nearly_same,
            targets=targets,
        )
        yield GpuCase(
            "detector's tail",
            f"{name}, B={images}, bfloat16",
            tail,
            partial(output_inputs, name, images, device),
            tail_on_cpu,
            {WHOLE: GpuPeer(whole, another=True)},
            exact=True,
            # all that follows the last convolution takes at most a tenth of the whole
            targets=(Target(10.0, WHOLE),) if targets else (),
        )
