"""The mined softmax cross entropy of a stage beside its reference and SSD code's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ...case import Case, Peer, both_ways
from ...peers import reference_peer
from .bench_mine_hard_negatives import two_sorts

# images, anchors, columns: of the first stage, of the second
SHAPES = [(1, 6375, 21), (32, 6375, 2), (32, 6375, 21), (8, 16320, 81)]


def plain_loss(logits: Tensor, labels: Tensor, eligible: Tensor | None) -> Tensor:
    """What most SSD code does: the loss of all anchors, two sorts, and a mask."""
    losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none").view(labels.shape)
    chosen = two_sorts(losses.detach(), labels, eligible) | (labels > 0)
    return torch.where(chosen, losses, 0.0).sum(dim=1)


def inputs(
    shape: tuple[int, int, int], filtered: bool, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits as of a trained detector; filtered: a tenth of the anchors may be mined."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=rng)
    logits[..., 0] += 5
    labels = torch.where(torch.rand(shape[:2], generator=rng) < 0.01, 1, 0)
    return logits.to(dtype), labels, torch.rand(shape[:2], generator=rng) < 0.1 if filtered else None


def loss_of(op: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda logits, labels, eligible: op(logits, labels, eligible=eligible).loss


def cases() -> Iterator[Case]:
    for shape in SHAPES:
        for filtered in (False, True):
            for dtype in (torch.float32, torch.bfloat16):
                if dtype == torch.bfloat16 and (filtered or shape != (32, 6375, 21)):
                    continue
                images, anchors, columns = shape
                reference = loss_of(rx.reference.mined_cross_entropy)
                peers: dict[str, Peer | None] = {**reference_peer(reference)}
                if dtype == torch.float32:  # in bfloat16 two sorts break ties as they come
                    peers["two sorts"] = Peer(plain_loss)
                yield from both_ways(
                    Case(
                        "mined_cross_entropy",
                        f"B={images}, {anchors} anchors, {columns} columns{', filtered' if filtered else ''}",
                        loss_of(rx.mined_cross_entropy),
                        partial(inputs, shape, filtered, dtype),
                        reference,
                        peers,
                        dtype=str(dtype)[6:],
                        gradients=(0,),
                        bytes=images * anchors * (columns * dtype.itemsize + 8),
                        short=shape == (32, 6375, 21) and filtered,
                    )
                )


def test_mined_cross_entropy(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
