"""Matching beside its twin, plain vectorised torch, and torchvision's matcher where that is installed.

The peers know only the "argmax" rule, so that is what they are checked and compared with; "bipartite" is timed too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

from .inputs import ground_truth, pyramid_anchors

# picture size, images, mean objects, anchors as refined by the ARM (per image)
CASES = {
    "320 B=1": (320, 1, 8.4, False),
    "320 B=32": (320, 32, 8.4, False),
    "320 B=32 refined": (320, 32, 8.4, True),
    "512 B=32": (512, 32, 8.4, False),
    "512 B=8 crowded": (512, 8, 100.0, False),
}
ROUNDS = {"ours": 100, "ours bipartite": 100, "reference": 2, "plain torch": 5, "torchvision": 5}


def plain_box_iou(a: Tensor, b: Tensor) -> Tensor:
    sides = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    inter = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    return inter / (area_a[:, None] + area_b[None, :] - inter)


def match_by_matrix(
    box_iou: Callable[[Tensor, Tensor], Tensor], anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor
) -> Tensor:
    """(B, A) labels as the common implementations find them: a matrix per image and its maxima both ways."""
    results = []
    for b in range(offsets.numel() - 1):
        rows = slice(int(offsets[b]), int(offsets[b + 1]))
        own = anchors if anchors.dim() == 2 else anchors[b]
        if rows.start == rows.stop:
            results.append(torch.zeros(len(own), dtype=torch.int64))
            continue
        overlaps = box_iou(own, boxes[rows])
        best, which = overlaps.max(dim=1)
        forced = overlaps.argmax(dim=0)
        best[forced] = 2.0
        which[forced] = torch.arange(len(forced))
        results.append(torch.where(best >= 0.5, labels[rows][which], 0))
    return torch.stack(results)


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_match_anchors(benchmark, case, who):
    size, images, objects, refined = CASES[case]
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size)
    if refined:
        anchors = anchors + torch.randn(images, *anchors.shape, generator=rng) * 0.02
    truth = ground_truth(images, objects, rng)
    expected = rx.reference.match_anchors(anchors, *truth, force_match="argmax")
    if who == "torchvision":
        peer = pytest.importorskip("torchvision", reason="torchvision is not installed").ops.box_iou
        run = lambda: match_by_matrix(peer, anchors, *truth)  # noqa: E731
    elif who == "plain torch":
        run = lambda: match_by_matrix(plain_box_iou, anchors, *truth)  # noqa: E731
    elif who == "reference":
        run = lambda: rx.reference.match_anchors(anchors, *truth, force_match="argmax")  # noqa: E731
    else:
        mode = "bipartite" if who.endswith("bipartite") else "argmax"
        for x, y in zip(rx.match_anchors(anchors, *truth, force_match="argmax"), expected, strict=True):
            assert torch.equal(x, y)
        run = lambda: rx.match_anchors(anchors, *truth, force_match=mode)  # noqa: E731
    if who in ("torchvision", "plain torch"):
        assert (run() == expected.labels).float().mean() > 0.999  # of two equal overlaps they take either
    benchmark.group = f"match_anchors {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
