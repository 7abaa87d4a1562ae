"""The mined softmax cross entropy of a stage, forward and backward, beside its twin and SSD code's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from .bench_mine_hard_negatives import two_sorts

CASES = {
    "arm B=32 A=6375 C=2": (32, 6375, 2),
    "odm B=32 A=6375 C=21": (32, 6375, 21),
    "odm B=8 A=16320 C=81": (8, 16320, 81),
}
ROUNDS = {"ours": 30, "reference": 3, "two sorts": 3}


def plain_loss(logits: Tensor, labels: Tensor, eligible: Tensor | None) -> Tensor:
    """What most SSD code does: the loss of all anchors, two sorts, and a mask."""
    losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none").view(labels.shape)
    chosen = two_sorts(losses.detach(), labels, eligible) | (labels > 0)
    return torch.where(chosen, losses, 0.0).sum(dim=1)


def inputs(shape: tuple[int, int, int], filtered: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits as of a trained detector; filtered: a tenth of the anchors may be mined."""
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=rng)
    logits[..., 0] += 5
    labels = torch.where(torch.rand(shape[:2], generator=rng) < 0.01, 1, 0)
    return logits, labels, torch.rand(shape[:2], generator=rng) < 0.1 if filtered else None


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("case", CASES)
def test_mined_cross_entropy(benchmark, case, backward, filtered, who):
    logits, labels, eligible = inputs(CASES[case], filtered)
    logits.requires_grad_(backward)
    loss = {
        "ours": lambda: rx.mined_cross_entropy(logits, labels, eligible=eligible).loss,
        "reference": lambda: rx.reference.mined_cross_entropy(logits, labels, eligible=eligible).loss,
        "two sorts": lambda: plain_loss(logits, labels, eligible),
    }[who]

    def run() -> tuple[Tensor, ...]:
        result = loss()
        return (result, *torch.autograd.grad(result.sum(), logits)) if backward else (result,)

    expected = rx.reference.mined_cross_entropy(logits, labels, eligible=eligible).loss
    torch.testing.assert_close(run()[0], expected, rtol=1e-4, atol=1e-4)
    benchmark.group = f"mined_cross_entropy {case} {'filtered' if filtered else 'all'}{' both' if backward else ''}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
