"""Decoding beside its twin (plain vectorised torch) and torchvision's box coder."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

from .inputs import pyramid_anchors

# picture size, images, dtype
CASES = {
    "320 B=1": (320, 1, torch.float32),
    "512 B=32": (512, 32, torch.float32),
    "512 B=32 bfloat16": (512, 32, torch.bfloat16),
}
ROUNDS = {"ours": 100, "ours backward": 30, "reference": 10, "torchvision": 10}


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_decode_boxes(benchmark, case, who):
    size, images, dtype = CASES[case]
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size).to(dtype)
    deltas = torch.randn(images, len(anchors), 4, generator=rng).to(dtype)
    run = lambda: rx.decode_boxes(deltas, anchors)  # noqa: E731
    expected = rx.reference.decode_boxes(deltas, anchors)
    if who == "torchvision":
        utils = pytest.importorskip("torchvision.models.detection._utils", reason="torchvision is not installed")
        coder = utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
        flat, repeated = deltas.flatten(0, 1), anchors.repeat(images, 1)
        run = lambda: coder.decode_single(flat, repeated)  # noqa: E731
        torch.testing.assert_close(run().reshape(expected.shape).float(), expected.float(), rtol=2e-2, atol=2e-2)
    elif who == "reference":
        run = lambda: rx.reference.decode_boxes(deltas, anchors)  # noqa: E731
    elif who == "ours backward":
        grad, variances = torch.randn(deltas.shape, generator=rng).to(dtype), [0.1, 0.1, 0.2, 0.2]
        backward = torch.ops.refinedet_ext._decode_boxes_backward.default
        run = lambda: backward(grad, deltas, anchors, variances, None)  # noqa: E731
    else:
        tolerance = {"rtol": 2e-6, "atol": 2e-6} if dtype == torch.float32 else {"rtol": 8e-3, "atol": 1e-6}
        torch.testing.assert_close(run(), expected, **tolerance)
    benchmark.group = f"decode_boxes {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
