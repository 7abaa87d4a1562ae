"""The whole inference tail beside its twin, and the usual torch code around torchvision's suppression.

"typical": few anchors pass the first stage and few of their scores count; "dense" is the worst that scenes give.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

from .inputs import detector_outputs, pyramid_anchors

# picture size, images, classes with the background, anchors left per image, their scores above 0.01
CASES = {
    "320 typical B=1": (320, 1, 21, 390, 1400),
    "320 dense B=1": (320, 1, 21, 1460, 9500),
    "512 typical B=8": (512, 8, 21, 1000, 3600),
    "512 typical B=1, 81 columns": (512, 1, 81, 1000, 3600),
}
ROUNDS = {"ours": 200, "ours, float16": 50, "reference": 1, "plain torch": 20, "plain torch + torchvision": 20}

Nms = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def plain(nms: Nms, arm_logits: Tensor, arm: Tensor, odm_logits: Tensor, odm: Tensor, anchors: Tensor) -> list[Tensor]:
    """Scores of each image's detections; vectorised as far as torch goes, with any `batched_nms`."""
    results = []
    kept = arm_logits.softmax(-1)[..., 0] <= 0.99
    for b in range(len(kept)):
        rows = kept[b].nonzero().flatten()
        scores = odm_logits[b, rows].softmax(-1)[:, 1:]
        boxes = rx.reference.decode_cascade(arm[b : b + 1, rows], odm[b : b + 1, rows], anchors[rows])[0]
        anchor, label = (scores > 0.01).nonzero().unbind(dim=1)
        values = scores[anchor, label]
        if len(values) > 400:
            values, order = values.topk(400)
            anchor, label = anchor[order], label[order]
        best = nms(boxes[anchor], values, label, 0.45)[:200]
        results.append(values[best])
    return results


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_detect(benchmark, case, who):
    size, *shape = CASES[case]
    anchors = pyramid_anchors(size)
    outputs = (*detector_outputs(anchors, *shape, torch.Generator().manual_seed(0)), anchors)
    if who == "reference":
        run = lambda: rx.reference.detect(*outputs)  # noqa: E731
    elif who.startswith("plain torch"):
        nms = rx.batched_nms
        if who.endswith("torchvision"):
            nms = pytest.importorskip("torchvision", reason="torchvision is not installed").ops.batched_nms
        run = lambda: plain(nms, *outputs)  # noqa: E731
        for found, ours in zip(run(), rx.detect(*outputs).count, strict=True):
            assert abs(len(found) - int(ours)) <= 2  # torchvision's offsets between the classes round the boxes
    elif who == "ours":
        run = lambda: rx.detect(*outputs)  # noqa: E731
        got, expected = run(), rx.reference.detect(*outputs)
        torch.testing.assert_close(got.scores, expected.scores, rtol=2e-6, atol=2e-6)
        assert torch.equal(got.count, expected.count)
        assert torch.equal(got.labels.sort().values, expected.labels.sort().values)  # equal scores but for a rounding
    else:
        half = [tensor.half() for tensor in outputs]
        run = lambda: rx.detect(*half)  # noqa: E731
    benchmark.group = f"detect {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=0 if who == "reference" else 3)
