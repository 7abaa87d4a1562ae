"""Detections from boxes and class scores beside the reference, the usual torch code around other libraries' NMS, and
mmcv's soft NMS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, Target
from ...inputs import detections
from ...peers import mmcv_ops, peer_of, reference_peer, torchvision_ops
from ...suppressors import suppressors

IOU = 0.45
BatchedNms = Callable[[Tensor, Tensor, Tensor], Tensor]

SOFT = {"top_k": None, "keep_top_k": 1000}
# images, anchors, classes, scores above 0.01 per image, settings
SHAPES: dict[str, tuple[int, int, int, int, dict[str, Any]]] = {
    "B=1, 6375 anchors, 20 classes": (1, 6375, 20, 1400, {}),
    "B=1, 6375 anchors, 20 classes, dense": (1, 6375, 20, 9500, {}),
    "B=1, 6375 anchors, 20 classes, dense, 1000 per class": (
        *(1, 6375, 20, 9500),
        {"top_k": None, "top_k_per_class": 1000, "keep_top_k": 500},
    ),
    "B=8, 16320 anchors, 20 classes": (8, 16320, 20, 3000, {}),
    "B=1, 16320 anchors, 80 classes": (1, 16320, 80, 3000, {}),
    "linear, N=1000 of one class": (1, 1000, 1, 1000, {"method": "linear", **SOFT}),
    "gaussian, N=1000 of one class": (1, 1000, 1, 1000, {"method": "gaussian", **SOFT}),
    "linear, B=1, 6375 anchors, 20 classes": (1, 6375, 20, 1400, {"method": "linear"}),
}
SOFT_TARGET = 6.0
SHORT = ("B=1, 6375 anchors, 20 classes, dense", "B=8, 16320 anchors, 20 classes", "linear, N=1000 of one class")


def inputs(images: int, anchors: int, classes: int, candidates: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    boxes = torch.stack([detections(anchors, 1, rng)[0] for _ in range(images)])
    scores = torch.rand(images, anchors, classes, generator=rng) * 0.009
    for image in scores.flatten(1):
        image[torch.randperm(len(image), generator=rng)[:candidates]] = (
            0.011 + 0.98 * torch.rand(candidates, generator=rng) ** 4
        )
    return boxes.to(dtype), scores.to(dtype)


def around(settings: dict[str, Any], batched_nms: BatchedNms) -> Callable[..., list[Tensor]]:
    """The usual torch code around a suppression: scores of each image's detections."""
    top_k, per_class = settings.get("top_k", 400), settings.get("top_k_per_class")

    def run(boxes: Tensor, scores: Tensor) -> list[Tensor]:
        results = []
        for b in range(len(boxes)):
            values = scores[b]
            if per_class is not None:
                least = values.topk(min(per_class, len(values)), dim=0).values[-1]
                values = torch.where(values >= least, values, 0.0)
            anchor, label = (values > 0.01).nonzero().unbind(dim=1)
            values = values[anchor, label]
            if top_k is not None and len(values) > top_k:
                values, order = values.topk(top_k)
                anchor, label = anchor[order], label[order]
            kept = batched_nms(boxes[b, anchor], values, label)[: settings.get("keep_top_k", 200)]
            results.append(values[kept])
        return results

    return run


def about_as_many(got: list[Tensor], expected: rx.Detections) -> bool:
    """Its offsets between the classes round the coordinates."""
    return all(abs(len(found) - int(n)) <= 2 for found, n in zip(got, expected.count, strict=True))


def mmcv_soft(ops: Any, method: str) -> Callable[..., Tensor]:
    """Rows of one class's detections: (x1, y1, x2, y2, score)."""
    return lambda boxes, scores: ops.soft_nms(
        boxes[0], scores[0, :, 0], iou_threshold=IOU, sigma=0.5, min_score=0.001, method=method
    )[0]


def same_scores(got: Tensor, expected: rx.Detections) -> bool:
    """Its boxes end at the last pixel, ours are continuous: not all scores agree, but nearly."""
    return abs(len(got) - int(expected.count)) <= 0.02 * len(got)


def same_detections(got: rx.Detections, expected: rx.Detections) -> None:
    """Equal but for a rounding of the scores, which may swap neighbours."""
    assert torch.equal(got.count, expected.count), f"count: expected {expected.count}, got {got.count}"
    torch.testing.assert_close(got.scores, expected.scores, rtol=2e-6, atol=2e-6)
    assert torch.equal(got.labels.sort().values, expected.labels.sort().values), "other labels"
    same = (got.boxes - expected.boxes).abs().amax(dim=-1) <= 1e-4
    assert bool(same.float().mean() > 0.98), f"{int((~same).sum())} boxes are elsewhere"


def cases() -> Iterator[Case]:
    vision, mmcv, libraries = torchvision_ops(), mmcv_ops(), suppressors(IOU)
    for name, (images, anchors, classes, candidates, settings) in SHAPES.items():
        method = settings.get("method")
        for dtype in (torch.float32, torch.bfloat16):
            if dtype == torch.bfloat16 and (method or "B=8" not in name):
                continue
            reference = _with(rx.reference.multiclass_nms, settings)
            peers: dict[str, Peer | None] = {**reference_peer(reference)}
            around_nms = partial(around, settings)
            if not method:
                peers["torch + torchvision"] = vision and Peer(
                    around_nms(partial(vision.batched_nms, iou_threshold=IOU)), agrees=about_as_many
                )
                for library, suppressor in libraries.items() if dtype == torch.float32 else ():
                    peers[f"torch + {library}"] = peer_of(suppressor, around_nms, agrees=about_as_many)
            elif classes == 1:
                peers["mmcv"] = mmcv and Peer(mmcv_soft(mmcv, method), agrees=same_scores)
            yield Case(
                "multiclass_nms",
                name,
                _with(rx.multiclass_nms, settings),
                partial(inputs, images, anchors, classes, candidates, dtype),
                reference,
                peers,
                dtype=str(dtype)[6:],
                compare=same_detections,
                bytes=images * anchors * classes * dtype.itemsize,
                targets=(Target(SOFT_TARGET),) if method and classes == 1 else (),
                short=name in SHORT and dtype == torch.float32,
            )


def _with(op: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    return lambda *given: op(*given, **settings)


def test_multiclass_nms(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
