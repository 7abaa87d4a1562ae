"""Suppression beside its twin and torchvision's, where that is installed."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

from .inputs import detections

# boxes, classes, the share of them that lies anywhere
CASES = {
    "N=400 20 classes": (400, 20, 0.1),
    "N=1000 20 classes": (1000, 20, 0.1),
    "N=5000 20 classes": (5000, 20, 0.1),
    "N=5000 80 classes": (5000, 80, 0.1),
    "N=16320 20 classes": (16320, 20, 0.1),
    "N=16320 80 classes": (16320, 80, 0.1),
    "N=16320 one class": (16320, 1, 0.1),
    "N=16320 one class dense": (16320, 1, 1.0),
}
ROUNDS = {"ours": 100, "reference": 1, "torchvision": 10}


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_batched_nms(benchmark, case, who):
    count, classes, stray = CASES[case]
    boxes, scores, idxs = detections(count, classes, torch.Generator().manual_seed(0), stray=stray)
    if who == "torchvision":
        ops = pytest.importorskip("torchvision", reason="torchvision is not installed").ops
    else:
        ops = rx if who == "ours" else rx.reference
    if classes == 1:
        run = lambda: ops.nms(boxes, scores, 0.45)  # noqa: E731
    else:
        run = lambda: ops.batched_nms(boxes, scores, idxs, 0.45)  # noqa: E731
    if who == "ours":
        assert torch.equal(run(), rx.reference.batched_nms(boxes, scores, idxs, 0.45))
    elif who == "torchvision":
        # it moves the classes apart by adding an offset to the coordinates, which rounds them
        assert abs(len(run()) - len(rx.batched_nms(boxes, scores, idxs, 0.45))) <= 1e-3 * count
    benchmark.group = f"batched_nms {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=0 if who == "reference" else 2)
