"""The whole loss of both stages beside itself on the references, and a plain vectorised loss as in public ports."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ..case import Case, Peer, Target, both_ways
from ..inputs import detector_outputs, ground_truth, pyramid_anchors
from ..ops.losses.bench_mine_hard_negatives import two_sorts
from ..ops.matching.bench_match_anchors import match_by_matrix, plain_box_iou
from ..references import on_reference

# image size, images, classes with the background
SHAPES = [(320, 1, 21), (320, 32, 21), (512, 8, 21), (512, 8, 81)]
TARGET = 15.0
OUTPUTS = 4  # of the inputs are network outputs, which get gradients


@cache
def criterion() -> Any:
    from refinedet.losses import MultiBoxLoss

    return MultiBoxLoss()


def total(arm_logits: Tensor, arm: Tensor, odm_logits: Tensor, odm: Tensor, anchors: Tensor, *truth: Tensor) -> Tensor:
    from refinedet.outputs import HeadOutputs

    return criterion()(HeadOutputs(arm_logits, arm, odm_logits, odm, anchors), *truth)["total"]


def plain_total(
    arm_logits: Tensor, arm: Tensor, odm_logits: Tensor, odm: Tensor, anchors: Tensor, *truth: Tensor
) -> Tensor:
    """As public ports: a matrix of overlaps per image, a softmax to filter, log-sum-exp and two sorts to mine."""
    boxes, labels, offsets = truth
    arm_loss = plain_stage(arm_logits, arm, anchors, (boxes, torch.ones_like(labels), offsets), None)
    refined = rx.reference.decode_boxes(arm.detach().float(), anchors)
    kept = arm_logits.detach().float().softmax(-1)[..., 0] <= 0.99
    return arm_loss + plain_stage(odm_logits, odm, refined, truth, kept)


def plain_stage(
    logits: Tensor, deltas: Tensor, anchors: Tensor, truth: tuple[Tensor, ...], kept: Tensor | None
) -> Tensor:
    logits, deltas = logits.float(), deltas.float()
    labels, rows = match_by_matrix(plain_box_iou, anchors, *truth)
    positive = labels > 0
    flat = logits.reshape(-1, logits.shape[-1])
    ranking = torch.logsumexp(flat, dim=1, keepdim=True) - flat.gather(1, labels.view(-1, 1))
    negative = two_sorts(ranking.detach().view(labels.shape), labels, kept)
    chosen = positive | negative
    cls = F.cross_entropy(logits[chosen], labels[chosen], reduction="sum")
    own = anchors.expand(deltas.shape)[positive]
    encoded = rx.reference.encode_boxes(truth[0][rows[positive]], own)
    loc = F.smooth_l1_loss(deltas[positive], encoded, reduction="sum")
    return (cls + loc) / positive.sum().clamp(min=1)


def inputs(size: int, images: int, columns: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size)
    survivors, candidates = (390, 1400) if size == 320 else (1000, 3600)
    outputs = detector_outputs(anchors, images, columns, survivors, candidates, rng)
    return (*(t.to(dtype) for t in outputs), anchors, *ground_truth(images, 8.4, rng))


def same_value(got: Any, expected: Any) -> bool:
    """Where no two objects have the same best anchor, which ours resolves and the ports do not, it is the same loss."""
    got, expected = (x[0] if isinstance(x, tuple) else x for x in (got, expected))
    return bool((got - expected).abs() <= 1e-4 * expected.abs())


def cases() -> Iterator[Case]:
    for size, images, columns in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            typical = (size, images) == (320, 32)
            if dtype == torch.bfloat16 and not typical:
                continue
            count = len(pyramid_anchors(size))
            yield from both_ways(
                Case(
                    "loss",
                    f"B={images}, {count} anchors, {columns} classes",
                    total,
                    partial(inputs, size, images, columns, dtype),
                    on_reference(total),
                    {"reference": Peer(on_reference(total)), "torch": Peer(plain_total, agrees=same_value)},
                    dtype=str(dtype)[6:],
                    gradients=tuple(range(OUTPUTS)),
                    bytes=images * count * (2 + 4 + columns + 4) * dtype.itemsize,
                ),
                targets=(Target(TARGET),) if typical and dtype == torch.float32 else (),
                short=typical and dtype == torch.float32,
            )


def test_loss(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
