"""Detections from boxes and class scores beside the twin and the usual torch code around torchvision's suppression."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

from .inputs import detections

# images, anchors, classes, scores above 0.01 per image, settings
CASES: dict[str, tuple[int, int, int, int, dict[str, Any]]] = {
    "typical 320": (1, 6375, 20, 1400, {}),
    "dense 320": (1, 6375, 20, 9500, {}),
    "dense 320, 1000 per class": (1, 6375, 20, 9500, {"top_k": None, "top_k_per_class": 1000, "keep_top_k": 500}),
    "typical 512 B=8": (8, 16320, 20, 3000, {}),
    "typical 512, 80 classes": (1, 16320, 80, 3000, {}),
    "linear, 1000 of one class": (1, 1000, 1, 1000, {"method": "linear", "top_k": None, "keep_top_k": 1000}),
    "gaussian, 1000 of one class": (1, 1000, 1, 1000, {"method": "gaussian", "top_k": None, "keep_top_k": 1000}),
}
ROUNDS = {"ours": 100, "reference": 1, "torchvision": 20}


def inputs(images: int, anchors: int, classes: int, candidates: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    boxes = torch.stack([detections(anchors, 1, rng)[0] for _ in range(images)])
    scores = torch.rand(images, anchors, classes, generator=rng) * 0.01
    for image in scores.flatten(1):
        image[torch.randperm(len(image), generator=rng)[:candidates]] = (
            0.011 + 0.98 * torch.rand(candidates, generator=rng) ** 4
        )
    return boxes, scores


def with_torchvision(batched_nms: Any, boxes: Tensor, scores: Tensor, settings: dict[str, Any]) -> list[Tensor]:
    """Scores of each image's detections."""
    top_k = settings.get("top_k", 400)
    results = []
    for b in range(len(boxes)):
        anchor, label = (scores[b] > 0.01).nonzero().unbind(dim=1)
        values = scores[b, anchor, label]
        if top_k is not None and len(values) > top_k:
            values, order = values.topk(top_k)
            anchor, label = anchor[order], label[order]
        kept = batched_nms(boxes[b, anchor], values, label, 0.45)[: settings.get("keep_top_k", 200)]
        results.append(values[kept])
    return results


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_multiclass_nms(benchmark, case, who):
    *shape, settings = CASES[case]
    boxes, scores = inputs(*shape)
    if who == "torchvision":
        if "method" in settings:
            pytest.skip("torchvision has no soft suppression")
        peer = pytest.importorskip("torchvision", reason="torchvision is not installed").ops.batched_nms
        run = lambda: with_torchvision(peer, boxes, scores, settings)  # noqa: E731
        for found, mine in zip(run(), rx.multiclass_nms(boxes, scores, **settings).count, strict=True):
            assert abs(len(found) - int(mine)) <= 2  # its offsets between the classes round the coordinates
    else:
        function = rx.multiclass_nms if who == "ours" else rx.reference.multiclass_nms
        run = lambda: function(boxes, scores, **settings)  # noqa: E731
    if who == "ours":
        got, expected = run(), rx.reference.multiclass_nms(boxes, scores, **settings)
        torch.testing.assert_close(got.scores, expected.scores, rtol=2e-6, atol=2e-6)
        assert torch.equal(got.count, expected.count)
    benchmark.group = f"multiclass_nms {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=0 if who == "reference" else 2)
