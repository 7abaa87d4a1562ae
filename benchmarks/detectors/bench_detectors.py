"""Every registered detector: images to detections, and a training step, beside the same network on the references.

Their weights are random. So that detections are as many as a trained network's, the thresholds are set to what leaves
that many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ..case import BOTH, Case, Peer
from ..inputs import ground_truth
from ..peers import optional
from ..references import on_reference

KEPT = 390 / 6375  # share of the anchors that the first stage of a trained detector leaves
PER_KEPT = 3.6  # of their class scores count
TRAINED_WITH = 2  # images
SHORT = ("refinedet320_vgg16", "efgrnet320_small", "refinedetlite320_res2netlite72")


def model_of(name: str) -> Any:
    import refinedet

    torch.manual_seed(0)
    return refinedet.create_model(name, 21).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def random_images(model: Any, count: int) -> Tensor:
    side = model.config.input_size
    noise = torch.randn(count, 3, side // 16, side // 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise * 60, size=(side, side), mode="bilinear")
    return smooth.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def with_statistics(model: Any, images: Tensor) -> Any:
    """The model with its batch norms set to these images: from the initial values outputs grow beyond all bounds."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the average of all
    model.train().head_outputs(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


@torch.no_grad()
def as_trained(model: Any, images: Tensor) -> Any:
    """The model with thresholds that a usual number of anchors and scores pass, each halfway between two of them."""
    outputs = model.head_outputs(images)
    margin = (outputs.arm_logits[..., 1] - outputs.arm_logits[..., 0]).flatten()
    # a single stage's are all alike: it filters nothing
    if margin.min() < margin.max():
        edge = halfway(margin, round(KEPT * len(margin)))
        model.config = replace(model.config, theta=float(1 / (1 + edge.exp())))
    kept = rx.filter_anchors_mask(outputs.arm_logits, model.config.theta)
    scores = outputs.odm_logits.softmax(-1)[..., 1:][kept].flatten()
    threshold = halfway(scores, round(PER_KEPT * KEPT * len(margin)))
    model.nms = replace(model.nms, score_threshold=float(threshold))
    return model


def halfway(values: Tensor, count: int) -> Tensor:
    """Between the count-th largest and the next."""
    return values.double().topk(min(count + 1, len(values))).values[-2:].mean()


def inference_inputs(name: str) -> tuple[Any, Tensor]:
    model = model_of(name)
    images = random_images(model, TRAINED_WITH)
    return as_trained(with_statistics(model, images), images[:1]), images[:1]


def training_inputs(name: str) -> tuple[Any, ...]:
    model = model_of(name).train()
    return model, random_images(model, TRAINED_WITH), ground_truth(TRAINED_WITH, 8.4, torch.Generator().manual_seed(0))


def detect(model: Any, images: Tensor) -> rx.Detections:
    return model(images)


def step(model: Any, images: Tensor, truth: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The loss, and the gradient of the largest weight."""
    model.zero_grad(set_to_none=True)
    loss = model.criterion(model(images), *truth)["total"]
    loss.backward()
    weights = [p for p in model.parameters() if p.grad is not None]
    return loss.detach(), max(weights, key=Tensor.numel).grad


def work(name: str, factor: int) -> Callable[..., float]:
    """Floating-point operations of the network, from its counted multiply-adds."""

    def flops(*inputs: Any) -> float:
        from refinedet.complexity import measure

        return 2 * factor * measure(name).macs

    return flops


def about_equal(got: rx.Detections, expected: rx.Detections) -> None:
    """The networks' sums differ by roundings, which may drop or keep a box at a threshold, and with it what it
    suppresses: of each image's detections 97% are among the other's."""
    for image in range(len(expected.count)):
        found, wanted = (torch.stack(rows(d, image)) for d in (got, expected))
        assert found.isfinite().all()
        for these, those in ((found, wanted), (wanted, found)):
            same = (these.T[:, None] - those.T).abs().amax(2) < 1e-3
            alone = int((~same.any(1)).sum())
            assert alone <= max(2, 0.03 * len(same)), f"{alone} of {len(same)} detections without a counterpart"


def rows(found: rx.Detections, image: int) -> tuple[Tensor, ...]:
    """Label, score and corners of an image's detections, (N) each; a corner of 1 is the image's side."""
    count = int(found.count[image])
    return (found.labels[image, :count].float(), found.scores[image, :count], *found.boxes[image, :count].T)


def cases() -> Iterator[Case]:
    refinedet = optional("refinedet")
    if refinedet is None:
        raise ImportError("bench_detectors needs the package refinedet with what it depends on: pip install '.[train]'")
    for name in refinedet.list_models():
        reference = on_reference(detect)
        yield Case(
            "detector",
            f"{name}, B=1",
            detect,
            partial(inference_inputs, name),
            reference,
            {"reference": Peer(reference)},
            compare=about_equal,
            flops=work(name, 1),
            short=name in SHORT,
            threads=(1, 2) if name in SHORT else (1,),
        )
        reference = on_reference(step)
        yield Case(
            "detector",
            f"{name}, B={TRAINED_WITH}, training step",
            step,
            partial(training_inputs, name),
            reference,
            {"reference": Peer(reference)},
            direction=BOTH,
            own_backward=True,
            tolerance=1e-2,
            flops=work(name, 3 * TRAINED_WITH),
            short=name == "efgrnet320_small",
            threads=(1,),
        )


def test_detector(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
