"""Both stages' decoding in one pass beside its twin, two calls of decode_boxes, and torchvision's box coder twice."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

from .inputs import detector_outputs, pyramid_anchors

# picture size, images, anchors that the first stage leaves (None: decode all)
CASES = {
    "320 B=1": (320, 1, None),
    "320 B=1 kept": (320, 1, 390),
    "512 B=8": (512, 8, None),
    "512 B=8 kept": (512, 8, 1000),
}
ROUNDS = {"ours": 100, "decode_boxes twice": 30, "reference": 10, "torchvision": 10}


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_decode_cascade(benchmark, case, who):
    size, images, survivors = CASES[case]
    anchors = pyramid_anchors(size)
    outputs = detector_outputs(anchors, images, 21, survivors or 390, 1400, torch.Generator().manual_seed(0))
    arm_logits, arm, _, odm = outputs
    kept = None if survivors is None else rx.filter_anchors(arm_logits)
    expected = rx.reference.decode_cascade(arm, odm, anchors, kept=kept)
    if who == "ours":
        run = lambda: rx.decode_cascade(arm, odm, anchors, kept=kept)  # noqa: E731
        torch.testing.assert_close(run(), expected, rtol=2e-6, atol=2e-6)
    elif who == "reference":
        run = lambda: rx.reference.decode_cascade(arm, odm, anchors, kept=kept)  # noqa: E731
    elif kept is not None:
        pytest.skip(f"{who} has no subset of anchors")
    elif who == "torchvision":
        utils = pytest.importorskip("torchvision.models.detection._utils", reason="torchvision is not installed")
        coder, repeated = utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), anchors.repeat(images, 1)
        a, o = arm.flatten(0, 1), odm.flatten(0, 1)
        run = lambda: coder.decode_single(o, coder.decode_single(a, repeated))  # noqa: E731
        torch.testing.assert_close(run().reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    else:
        run = lambda: rx.decode_boxes(odm, rx.decode_boxes(arm, anchors))  # noqa: E731
    benchmark.group = f"decode_cascade {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
