"""Negative anchor filtering beside its twin and the usual torch code: softmax, comparison, nonzero per image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

from .inputs import detector_outputs, pyramid_anchors

# picture size, images, anchors left
CASES = {"320 B=1": (320, 1, 390), "320 B=1 dense": (320, 1, 1460), "512 B=8": (512, 8, 1000)}
ROUNDS = {"ours": 300, "ours, mask": 300, "reference": 20, "plain torch": 50}


def plain(arm_logits: Tensor) -> list[Tensor]:
    """Indices of each image's anchors."""
    return [row.nonzero().flatten() for row in arm_logits.softmax(-1)[..., 0] <= 0.99]


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_filter_anchors(benchmark, case, who):
    size, images, survivors = CASES[case]
    anchors = pyramid_anchors(size)
    logits = detector_outputs(anchors, images, 21, survivors, 1400, torch.Generator().manual_seed(0))[0]
    expected = rx.reference.filter_anchors(logits)
    run = {
        "ours": lambda: rx.filter_anchors(logits),
        "ours, mask": lambda: rx.filter_anchors_mask(logits),
        "reference": lambda: rx.reference.filter_anchors(logits),
        "plain torch": lambda: plain(logits),
    }[who]
    if who == "ours":
        assert torch.equal(run().index, expected.index) and torch.equal(run().count, expected.count)
    elif who == "plain torch":
        assert [len(rows) for rows in run()] == expected.count.tolist() == [survivors] * images
    benchmark.group = f"filter_anchors {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=5)
