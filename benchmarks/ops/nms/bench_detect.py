"""The whole inference tail beside its reference, and the usual torch code around torchvision's suppression.

"typical": few anchors pass the first stage and few of their scores count; "dense" is the worst that scenes give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, Target
from ...inputs import detector_outputs, pyramid_anchors
from ...peers import peer_of, reference_peer, torchvision_ops
from .bench_multiclass_nms import about_as_many, same_detections

# image size, images, classes with the background, anchors left per image, their scores above 0.01
SHAPES = {
    "B=1, 6375 anchors, 21 columns, typical": (320, 1, 21, 390, 1400),
    "B=1, 6375 anchors, 21 columns, dense": (320, 1, 21, 1460, 9500),
    "B=8, 16320 anchors, 21 columns, typical": (512, 8, 21, 1000, 3600),
    "B=1, 16320 anchors, 81 columns, typical": (512, 1, 81, 1000, 3600),
}
TARGETS = dict(zip(SHAPES, (15.0, 25.0, 15.0), strict=False))

Nms = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def plain(nms: Nms) -> Callable[..., list[Tensor]]:
    """Scores of each image's detections; vectorised as far as torch goes, with any `batched_nms`."""

    def run(arm_logits: Tensor, arm: Tensor, odm_logits: Tensor, odm: Tensor, anchors: Tensor) -> list[Tensor]:
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

    return run


def inputs(
    size: int, images: int, columns: int, survivors: int, candidates: int, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    anchors = pyramid_anchors(size)
    outputs = detector_outputs(anchors, images, columns, survivors, candidates, torch.Generator().manual_seed(0))
    return tuple(t.to(dtype) for t in (*outputs, anchors))


def nearly_same(got: rx.Detections, expected: rx.Detections) -> None:
    """Half floats that are suppressed or not by the last bit of an overlap."""
    assert int((got.count - expected.count).abs().max()) <= 2
    error = (got.scores.float() - expected.scores.float()).norm() / expected.scores.float().norm()
    assert float(error) < 2e-2, f"scores: relative error {float(error):.1e}"


def cases() -> Iterator[Case]:
    vision = torchvision_ops()
    for name, shape in SHAPES.items():
        size, images, columns, survivors, _ = shape
        for dtype in (torch.float32, torch.bfloat16):
            if dtype == torch.bfloat16 and "B=8" not in name:
                continue
            peers: dict[str, Peer | None] = {**reference_peer(rx.reference.detect)}
            if dtype == torch.float32:
                # the faster of two kinds of suppression in the usual code: torchvision's, or ours
                peers["torch + torchvision"] = peer_of(vision, lambda ops: plain(ops.batched_nms), agrees=about_as_many)
                peers["torch + our nms"] = Peer(plain(rx.batched_nms), agrees=about_as_many)
            target = TARGETS.get(name) if dtype == torch.float32 else None
            count = len(pyramid_anchors(size))
            yield Case(
                "detect",
                name,
                rx.detect,
                partial(inputs, *shape, dtype),
                rx.reference.detect,
                peers,
                dtype=str(dtype)[6:],
                compare=same_detections if dtype == torch.float32 else nearly_same,
                # the first stage's scores, then what belongs to the survivors
                bytes=images * dtype.itemsize * (2 * count + survivors * (columns + 8)),
                targets=() if target is None else (Target(target),),
                short=dtype == torch.float32 and images == 1,
            )


def test_detect(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
