"""Mining by selection beside its reference and the usual two full sorts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer
from ...peers import reference_peer

SHAPES = [(1, 6375), (32, 6375), (32, 16320), (1, 10**6)]  # images, anchors


def two_sorts(loss: Tensor, labels: Tensor, eligible: Tensor | None) -> Tensor:
    """The rank of every anchor by sorting the order again, as most SSD code does."""
    usable = labels == 0 if eligible is None else (labels == 0) & eligible
    rank = loss.masked_fill(~usable, -1.0).sort(dim=1, descending=True, stable=True).indices.argsort(dim=1)
    return (rank < 3 * (labels > 0).sum(dim=1, keepdim=True)) & usable


def inputs(images: int, anchors: int, filtered: bool, dtype: torch.dtype) -> tuple[Any, ...]:
    rng = torch.Generator().manual_seed(0)
    loss = torch.nn.functional.softplus(torch.randn(images, anchors, generator=rng) * 2 - 5)
    labels = (torch.rand(images, anchors, generator=rng) < 0.01).long()
    return loss.to(dtype), labels, torch.rand(images, anchors, generator=rng) < 0.1 if filtered else None


def with_eligible(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda loss, labels, eligible: op(loss, labels, eligible=eligible)


def cases() -> Iterator[Case]:
    for images, anchors in SHAPES:
        for filtered in (False, True):
            for dtype in (torch.float32, torch.bfloat16):
                if dtype == torch.bfloat16 and (filtered or images == 1):
                    continue
                typical = (images, anchors) == (32, 6375)
                peers: dict[str, Peer | None] = {**reference_peer(with_eligible(rx.reference.mine_hard_negatives))}
                peers["two sorts"] = Peer(two_sorts)
                if typical and not filtered:
                    peers["two sorts, torch.compile"] = Peer(two_sorts, compile=True)
                yield Case(
                    "mine_hard_negatives",
                    f"B={images}, {anchors} anchors{', filtered' if filtered else ''}",
                    with_eligible(rx.mine_hard_negatives),
                    partial(inputs, images, anchors, filtered, dtype),
                    with_eligible(rx.reference.mine_hard_negatives),
                    peers,
                    dtype=str(dtype)[6:],
                    exact=True,
                    bytes=images * anchors * (dtype.itemsize + 9 + filtered),
                    short=typical and dtype == torch.float32,
                )


def test_mine_hard_negatives(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
