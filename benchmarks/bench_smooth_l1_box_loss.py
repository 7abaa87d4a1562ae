"""The smooth L1 box loss of a stage, forward and backward, beside its twin and a composition on all anchors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from .inputs import ground_truth, pyramid_anchors

CASES = {"B=1 A=6375": (1, 320), "B=32 A=6375": (32, 320), "B=32 A=16320": (32, 512)}
ROUNDS = {"ours": 100, "reference": 3, "composed": 3}


def composed(deltas: Tensor, anchors: Tensor, gt_boxes: Tensor, gt_index: Tensor) -> Tensor:
    target = rx.encode_boxes(gt_boxes[gt_index], anchors)
    each = F.smooth_l1_loss(deltas, target, reduction="none").sum(dim=-1)
    return torch.where(gt_index >= 0, each, 0.0).sum(dim=1)


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("case", CASES)
def test_smooth_l1_box_loss(benchmark, case, backward, who):
    rng = torch.Generator().manual_seed(0)
    images, size = CASES[case]
    anchors, (boxes, labels, offsets) = pyramid_anchors(size), ground_truth(images, 8.4, rng)
    index = rx.match_anchors(anchors, boxes, labels, offsets).gt_index
    deltas = torch.randn(images, len(anchors), 4, generator=rng).requires_grad_(backward)
    loss = {"ours": rx.smooth_l1_box_loss, "reference": rx.reference.smooth_l1_box_loss, "composed": composed}[who]

    def run() -> tuple[Tensor, ...]:
        result = loss(deltas, anchors, boxes, index)
        return (result, *torch.autograd.grad(result.sum(), deltas)) if backward else (result,)

    expected = rx.reference.smooth_l1_box_loss(deltas, anchors, boxes, index)
    torch.testing.assert_close(run()[0], expected, rtol=1e-4, atol=1e-3)
    benchmark.group = f"smooth_l1_box_loss {case}{' both' if backward else ''}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
