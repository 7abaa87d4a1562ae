"""Mining by selection beside its twin and the usual two full sorts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

CASES = {"B=1 A=6375": (1, 6375), "B=32 A=6375": (32, 6375), "B=32 A=16320": (32, 16320), "B=1 A=1000000": (1, 10**6)}
ROUNDS = {"ours": 100, "reference": 3, "two sorts": 3}


def two_sorts(loss: Tensor, labels: Tensor, eligible: Tensor | None) -> Tensor:
    """The rank of every anchor by sorting the order again, as most SSD code does."""
    usable = labels == 0 if eligible is None else (labels == 0) & eligible
    rank = loss.masked_fill(~usable, -1.0).sort(dim=1, descending=True, stable=True).indices.argsort(dim=1)
    return (rank < 3 * (labels > 0).sum(dim=1, keepdim=True)) & usable


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
@pytest.mark.parametrize("case", CASES)
def test_mine_hard_negatives(benchmark, case, filtered, who):
    rng = torch.Generator().manual_seed(0)
    shape = CASES[case]
    loss = torch.nn.functional.softplus(torch.randn(shape, generator=rng) * 2 - 5)
    labels = (torch.rand(shape, generator=rng) < 0.01).long()
    eligible = torch.rand(shape, generator=rng) < 0.1 if filtered else None
    run = {
        "ours": lambda: rx.mine_hard_negatives(loss, labels, eligible=eligible),
        "reference": lambda: rx.reference.mine_hard_negatives(loss, labels, eligible=eligible),
        "two sorts": lambda: two_sorts(loss, labels, eligible),
    }[who]
    assert torch.equal(run(), rx.reference.mine_hard_negatives(loss, labels, eligible=eligible))
    benchmark.group = f"mine_hard_negatives {case} {'filtered' if filtered else 'all'}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
