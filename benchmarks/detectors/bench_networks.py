"""Whole networks at inference, one image to its detections, beside the runtimes people use.

ours: `refinedet.optimize_for_inference`. The same network: torch as it is, contiguous and channels-last, torch.compile,
ONNX Runtime, OpenVINO; for EFGRNet also with torchvision's deformable convolution. All but torchvision's
own detectors, which are other networks, give raw outputs that are compared with the model's before they are timed, and
end in the same call of `refinedet_ext.detect`. Making them ready takes minutes where torch compiles or exports. Where
the processor does not multiply bfloat16, networks in it are not run: torch refuses or emulates their layers there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx
from refinedet_ext.machine import multiplies_bfloat16

from .. import runtimes
from ..case import Case, Peer, Target
from ..peers import optional
from .bench_detectors import TRAINED_WITH, about_equal, as_trained, model_of, random_images, with_statistics, work

NAMES = ("refinedet320_vgg16", "refinedet512_vgg16", "efgrnet320_vgg16", "refinedetlite320_res2netlite72")
SHORT = ("refinedet320_vgg16", "refinedetlite320_res2netlite72")
# what each needs besides torch
RUNTIMES: dict[str, tuple[Callable[..., runtimes.Network], tuple[str, ...]]] = {
    "torch": (runtimes.contiguous, ()),
    "torch, channels-last": (runtimes.channels_last, ()),
    "ONNX Runtime": (runtimes.onnx_runtime, ("onnxruntime", "onnx", "onnxscript")),
    "OpenVINO": (runtimes.openvino, ("openvino", "onnx", "onnxscript")),
    "torchvision's deform_conv2d": (runtimes.torchvision_deform, ("torchvision",)),
}
SSD = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")
TARGETS = {
    "refinedet320_vgg16": (Target(1.0, "ONNX Runtime"),),
    "refinedet512_vgg16": (Target(1.0, "ONNX Runtime"),),
    "efgrnet320_vgg16": (Target(1.5, "torchvision's deform_conv2d"),),
    "refinedetlite320_res2netlite72": (Target(15.0, "torchvision ssd300_vgg16"),),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EMULATED = "this processor has no instructions for bfloat16, torch would refuse or emulate it"


def inputs(name: str, dtype: str) -> tuple[Any, Any, Tensor]:
    """The model, its optimized copy, checked, and an image."""
    import refinedet

    model = calm(model_of(name))
    images = random_images(model, TRAINED_WITH)
    images, model = images[:1], as_trained(with_statistics(model, images), images[:1])
    fast = refinedet.optimize_for_inference(model, dtype=dtype)
    runtimes.agrees(model, fast.head_outputs, images, DTYPES[dtype])
    return model, fast, images


def calm(model: Any) -> Any:
    """With residual branches as small beside their shortcuts as training leaves them: a network of thirteen equal ones
    makes more of each rounding than a bfloat16 result can be checked by."""
    for name, module in model.named_modules():
        if name.endswith(("expand.1", "bn3")):
            torch.nn.init.constant_(module.weight, 0.2)
    return model


def ours(model: Any, fast: Any, images: Tensor) -> rx.Detections:
    return fast(images)


def expected(model: Any, fast: Any, images: Tensor) -> rx.Detections:
    return model(images)


def found_alike(got: rx.Detections, wanted: rx.Detections) -> None:
    """bfloat16 moves scores by a hundredth, and with them which boxes pass the thresholds; the raw outputs are what
    is compared closely."""
    assert abs(int(got.count) - int(wanted.count)) <= 0.25 * int(wanted.count), (int(got.count), int(wanted.count))


def peer(make: Callable[..., runtimes.Network], dtype: str) -> Peer:
    def prepare(model: Any, fast: Any, images: Tensor) -> tuple[Any, runtimes.Network, Tensor]:
        network = make(model, images, DTYPES[dtype])
        runtimes.agrees(model, network, images, DTYPES[dtype])
        return model, network, images

    def run(model: Any, network: runtimes.Network, images: Tensor) -> rx.Detections:
        from refinedet import HeadOutputs

        return model.detect(HeadOutputs(*network(images)))

    return Peer(run, prepare, alike(dtype))


def alike(dtype: str) -> Callable[[Any, Any], bool]:
    def same(got: rx.Detections, wanted: rx.Detections) -> bool:
        try:
            (about_equal if dtype == "float32" else found_alike)(got, wanted)
        except AssertionError:
            return False
        return True

    return same


def ssd_peer(name: str) -> Peer:
    """Another network: it must find something, with finite scores."""

    def works(got: Any, wanted: Any) -> bool:
        return len(got["scores"]) >= runtimes.LEAST_FOUND and bool(got["scores"].isfinite().all())

    return Peer(
        lambda network, image: network(image), lambda model, fast, x: runtimes.ssd(name, x), works, another=True
    )


def peers(name: str, dtype: str) -> dict[str, Peer | None]:
    found: dict[str, Peer | None] = {}
    for runtime, (make, needed) in RUNTIMES.items():
        if (runtime == "ONNX Runtime" and dtype != "float32") or ("deform" in runtime and "efgrnet" not in name):
            continue
        missing = any(optional(module) is None for module in needed)
        found[runtime] = None if missing else peer(make, dtype)
    if dtype == "float32" and "512" not in name:
        missing = optional("torchvision.models.detection") is None
        found |= {f"torchvision {other}": None if missing else ssd_peer(other) for other in SSD}
    found["torch.compile"] = Peer(
        whole, lambda *case: (channels_last(case[0], DTYPES[dtype]), *case[2:]), alike(dtype), compile=True
    )
    return found


def whole(model: Any, images: Tensor) -> rx.Detections:
    return model.detect(model.head_outputs(images.to(next(model.parameters()).dtype)))


def channels_last(model: Any, dtype: torch.dtype) -> Any:
    return copy.deepcopy(model).to(memory_format=torch.channels_last).to(dtype)


def cases() -> Iterator[Case]:
    if optional("refinedet") is None:
        raise ImportError("bench_networks needs the package refinedet with what it depends on: pip install '.[train]'")
    for name in NAMES:
        for dtype in DTYPES:
            yield Case(
                "network",
                f"{name}, B=1",
                ours,
                partial(inputs, name, dtype),
                expected,
                peers(name, dtype),
                dtype=dtype,
                compare=about_equal if dtype == "float32" else found_alike,
                flops=work(name, 1),
                targets=TARGETS[name] if dtype == "float32" else (),
                short=name in SHORT,
                threads=(1, 2),
                skip=EMULATED if dtype == "bfloat16" and not multiplies_bfloat16() else "",
            )


def test_network(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
