"""Encoding beside its twin (plain vectorised torch) and torchvision's box coder."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

from .inputs import pyramid_anchors

CASES = {"320 B=1": (320, 1), "320 B=32": (320, 32), "512 B=32": (512, 32)}  # picture size, images
ROUNDS = {"ours": 100, "ours backward": 30, "reference": 10, "torchvision": 10}
VARIANCES = [0.1, 0.1, 0.2, 0.2]


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_encode_boxes(benchmark, case, who):
    size, images = CASES[case]
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size)
    boxes = rx.reference.decode_boxes(torch.randn(images, len(anchors), 4, generator=rng), anchors)
    run = lambda: rx.encode_boxes(boxes, anchors)  # noqa: E731
    expected = rx.reference.encode_boxes(boxes, anchors)
    if who == "torchvision":
        utils = pytest.importorskip("torchvision.models.detection._utils", reason="torchvision is not installed")
        flat, repeated, weights = boxes.flatten(0, 1), anchors.repeat(images, 1), torch.tensor([10.0, 10.0, 5.0, 5.0])
        run = lambda: utils.encode_boxes(flat, repeated, weights)  # noqa: E731
        torch.testing.assert_close(run().reshape(expected.shape), expected, rtol=1e-3, atol=1e-3)
    elif who == "reference":
        run = lambda: rx.reference.encode_boxes(boxes, anchors)  # noqa: E731
    elif who == "ours backward":
        grad = torch.randn(boxes.shape, generator=rng)
        backward = torch.ops.refinedet_ext._encode_boxes_backward.default
        run = lambda: backward(grad, boxes, anchors, VARIANCES)  # noqa: E731
    else:
        torch.testing.assert_close(run(), expected, rtol=1e-4, atol=1e-4)
    benchmark.group = f"encode_boxes {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
