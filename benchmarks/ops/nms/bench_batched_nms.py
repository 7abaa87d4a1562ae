"""NMS within classes and of one class beside its reference and other libraries'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, Target
from ...inputs import detections
from ...peers import mmcv_ops, peer_of, reference_peer, torchvision_ops
from ...suppressors import COMPARE_ALL_PAIRS, Suppressor, suppressors

IOU = 0.45
# boxes, classes: times torchvision
TARGETS = {
    (400, 20): 4.0,
    (1000, 20): 10.0,
    (5000, 20): 12.0,
    (5000, 80): 15.0,
    (16320, 20): 15.0,
    (16320, 80): 15.0,
    (1000, 1): 8.0,
    (5000, 1): 8.0,
    (16320, 1): 8.0,
}
OVER_ALL = 5.0  # times the fastest peer, whoever that is
STEPS_PER_BOX = 12  # arithmetic of the one overlap that every box but the best needs at least
SHORT = {(1000, 20), (5000, 80), (16320, 20)}
MANY = 100_000


def about_as_many(got: Tensor, expected: Tensor) -> bool:
    """Most peers move the classes apart by adding to the coordinates, which rounds them."""
    return abs(len(got) - len(expected)) <= max(1, 2e-3 * len(expected))


def made(count: int, classes: int, stray: float, dtype: torch.dtype) -> Callable[[], tuple[Tensor, ...]]:
    def inputs() -> tuple[Tensor, ...]:
        boxes, scores, idxs = detections(count, classes, torch.Generator().manual_seed(0), stray=stray)
        return (boxes.to(dtype), scores.to(dtype), idxs)[: 2 + (classes > 1)]

    return inputs


def mmcv_batched(ops: Any) -> Callable[..., Tensor]:
    settings = {"type": "nms", "iou_threshold": IOU}
    return lambda boxes, scores, idxs: ops.batched_nms(boxes, scores, idxs, settings)[1]


def of_library(suppressor: Suppressor | None) -> Peer | None:
    if suppressor is None:
        return None
    return Peer(suppressor.run, prepare=suppressor.prepare, agrees=about_as_many)


def case(count: int, classes: int, *, stray: float = 0.1, dtype: torch.dtype = torch.float32) -> Case:
    one = classes == 1
    ours, reference = (rx.nms, rx.reference.nms) if one else (rx.batched_nms, rx.reference.batched_nms)

    def with_threshold(op: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs: op(*inputs, IOU)

    check: dict[str, Any] = {"agrees": about_as_many}
    peers: dict[str, Peer | None] = {**reference_peer(with_threshold(reference))}
    peers["torchvision"] = peer_of(
        torchvision_ops(), lambda ops: with_threshold(ops.nms if one else ops.batched_nms), **check
    )
    if dtype == torch.float32:
        peers["mmcv"] = peer_of(
            mmcv_ops(), lambda ops: (lambda b, s: ops.nms(b, s, IOU)[1]) if one else mmcv_batched(ops), **check
        )
        for library, suppressor in suppressors(IOU).items():
            if count < MANY or library not in COMPARE_ALL_PAIRS:
                peers[library] = of_library(suppressor)
    name = f"N={count}, {'one class' if one else f'{classes} classes'}{', dense' if stray == 1 else ''}"
    over_torchvision = TARGETS.get((count, classes)) if stray < 1 and dtype == torch.float32 else None
    return Case(
        "nms" if one else "batched_nms",
        name,
        with_threshold(ours),
        made(count, classes, stray, dtype),
        peers["reference"].run if peers["reference"] else reference,
        peers,
        dtype=str(dtype)[6:],
        exact=True,
        bytes=count
        * (5 * dtype.itemsize + 8 * (not one) + 16),  # read once, and scores with indices sorted in one pass
        flops=STEPS_PER_BOX * count,
        targets=() if over_torchvision is None else (Target(over_torchvision, "torchvision"), Target(OVER_ALL)),
        short=(count, classes) in SHORT and dtype == torch.float32 or (count, stray) == (16320, 0.1) and one,
    )


def unpadded(peer: Peer) -> Peer:
    return replace(peer, agrees=lambda got, expected: about_as_many(got, expected.index[: int(expected.count)]))


def cases() -> Iterator[Case]:
    for count, classes in TARGETS:
        yield case(count, classes)
    yield case(16320, 20, stray=1.0)
    yield case(16320, 20, dtype=torch.bfloat16)
    yield case(200_000, 80)
    yield case(16320, 1, stray=1.0)
    padded = case(16320, 20)
    yield replace(
        padded,
        op="batched_nms_padded",
        ours=partial(rx.batched_nms_padded, iou_threshold=IOU),
        expected=partial(rx.reference.batched_nms_padded, iou_threshold=IOU),
        peers={"batched_nms of torchvision": padded.peers["torchvision"] and unpadded(padded.peers["torchvision"])},
        targets=(),
        short=False,
    )


def test_nms(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
