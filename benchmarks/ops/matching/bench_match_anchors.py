"""Matching, alone and with the boxes' encoding, beside its reference, vectorised torch, and torchvision's functions.

The peers know only the "argmax" rule, so that is what they are compared with; "bipartite" is timed too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, Target
from ...inputs import ground_truth, pyramid_anchors
from ...peers import optional, peer_of, reference_peer, torchvision_ops

BoxIou = Callable[[Tensor, Tensor], Tensor]
Coder = Callable[[Tensor, Tensor], Tensor]

# image size, images, mean objects
SHAPES = [(320, 1, 8.4), (320, 32, 8.4), (512, 32, 8.4), (512, 8, 100.0)]
TARGET = 20.0  # times as fast as the fastest peer, with encoding


def plain_box_iou(a: Tensor, b: Tensor) -> Tensor:
    sides = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    inter = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]) for x in (a, b))
    return inter / (area_a[:, None] + area_b[None, :] - inter)


def match_by_matrix(
    box_iou: BoxIou, anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, A) labels and rows of `boxes`, as the common implementations find them: a matrix per image and its maxima."""
    all_labels, rows = [], []
    for b in range(offsets.numel() - 1):
        first, last = int(offsets[b]), int(offsets[b + 1])
        own = anchors if anchors.dim() == 2 else anchors[b]
        if first == last:
            all_labels.append(torch.zeros(len(own), dtype=torch.int64))
            rows.append(torch.zeros(len(own), dtype=torch.int64))
            continue
        overlaps = box_iou(own, boxes[first:last])
        best, which = overlaps.max(dim=1)
        forced = overlaps.argmax(dim=0)
        best[forced] = 2.0
        which[forced] = torch.arange(len(forced))
        all_labels.append(torch.where(best >= 0.5, labels[first:last][which], 0))
        rows.append(which + first)
    return torch.stack(all_labels), torch.stack(rows)


def targets_of(labels: Tensor, rows: Tensor, boxes: Tensor, anchors: Tensor, encode: Coder) -> tuple[Tensor, Tensor]:
    """(B, A) labels and the encoded boxes (P, 4) of the positive anchors, in their order."""
    image, anchor = (labels > 0).nonzero().unbind(dim=1)
    own = anchors[anchor] if anchors.dim() == 2 else anchors[image, anchor]
    return labels, encode(boxes[rows[image, anchor]], own)


def ours_encoded(anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    found = rx.match_anchors(anchors, boxes, labels, offsets, force_match="argmax")
    return targets_of(found.labels, found.gt_index, boxes, anchors, rx.encode_boxes)


def reference_encoded(anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    found = rx.reference.match_anchors(anchors, boxes, labels, offsets, force_match="argmax")
    return targets_of(found.labels, found.gt_index, boxes, anchors, rx.reference.encode_boxes)


def matrix_encoded(box_iou: BoxIou, encode: Coder) -> Callable[..., tuple[Tensor, Tensor]]:
    def run(anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        return targets_of(*match_by_matrix(box_iou, anchors, boxes, labels, offsets), boxes, anchors, encode)

    return run


def torchvision_coder() -> tuple[Coder, Coder] | None:
    """Its encoding and its decoding."""
    utils = optional("torchvision.models.detection._utils")
    if utils is None:
        return None
    weights, coder = torch.tensor([10.0, 10.0, 5.0, 5.0]), utils.BoxCoder((10.0, 10.0, 5.0, 5.0))

    def decode(deltas: Tensor, anchors: Tensor) -> Tensor:
        flat = coder.decode_single(deltas.flatten(0, 1), anchors.expand(deltas.shape).flatten(0, 1))
        return flat.reshape(deltas.shape)

    return (lambda boxes, anchors: utils.encode_boxes(boxes, anchors, weights)), decode


def after_decoding(decode: Coder, op: Callable[..., Any]) -> Callable[..., Any]:
    """The op on anchors that the first stage refined, their decoding included."""
    return lambda deltas, anchors, *truth: op(decode(deltas, anchors), *truth)


def same_labels(got: Any, expected: Any) -> bool:
    """All but those anchors that lie at a threshold or overlap two objects alike."""
    return bool((got[0] == expected[0]).float().mean() > 0.999)


def inputs(
    size: int, images: int, objects: float, refined: bool, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size).to(dtype)
    truth = ground_truth(images, objects, rng)
    return (
        (torch.randn(images, len(anchors), 4, generator=rng) * 0.5, anchors, *truth) if refined else (anchors, *truth)
    )


def match_with(op: Callable[..., Any], force: str) -> Callable[..., Any]:
    return lambda *given: op(*given, force_match=force)


def cases() -> Iterator[Case]:
    vision, coder = torchvision_ops(), torchvision_coder()
    for size, images, objects in SHAPES:
        count = len(pyramid_anchors(size))
        name = f"B={images}, {count} anchors, {objects:g} objects"
        make = partial(inputs, size, images, objects, False)
        typical = (size, images) == (320, 32)
        # label, row and overlap of every anchor; most overlaps need not be computed
        written = 20 * images * count
        for force in ("argmax", "bipartite"):
            reference = match_with(rx.reference.match_anchors, force)
            peers: dict[str, Peer | None] = {**reference_peer(reference)}
            if force == "argmax":
                peers["torch"] = Peer(lambda *given: match_by_matrix(plain_box_iou, *given), agrees=same_labels)
                peers["torchvision"] = peer_of(
                    vision, lambda ops: lambda *given: match_by_matrix(ops.box_iou, *given), agrees=same_labels
                )
            yield Case(
                "match_anchors",
                f"{name}, {force}",
                match_with(rx.match_anchors, force),
                make,
                reference,
                peers,
                exact=True,
                short=typical,
                bytes=written,
            )
        if typical:
            yield Case(
                "match_anchors",
                f"{name}, bipartite",
                rx.match_anchors,
                partial(inputs, size, images, objects, False, torch.bfloat16),
                rx.reference.match_anchors,
                {**reference_peer(rx.reference.match_anchors)},
                dtype="bfloat16",
                exact=True,
                bytes=written,
            )
        for refined in (False, True):
            if images == 1 and refined:
                continue
            wrap: Callable[[Coder, Any], Any] = after_decoding if refined else (lambda _, op: op)
            own, theirs = wrap(rx.decode_boxes, ours_encoded), wrap(rx.reference.decode_boxes, reference_encoded)
            plain = wrap(rx.reference.decode_boxes, matrix_encoded(plain_box_iou, rx.reference.encode_boxes))
            yield Case(
                "match + encode",
                f"{name}{', refined anchors' if refined else ''}",
                own,
                partial(inputs, size, images, objects, refined),
                theirs,
                {
                    **reference_peer(theirs),
                    "torch": Peer(plain, agrees=same_labels),
                    "torchvision": coder
                    and Peer(wrap(coder[1], matrix_encoded(vision.box_iou, coder[0])), agrees=same_labels),
                },
                compare=targets_close if refined else None,
                targets=(Target(TARGET),) if images == 32 else (),
                short=typical,
                bytes=written,
            )


def targets_close(got: Any, expected: Any) -> None:
    """Refined anchors differ by roundings, so that one at a threshold may fall on either side."""
    same = got[0] == expected[0]
    assert bool(same.float().mean() > 0.9999), f"labels: {int((~same).sum())} differ"
    rows = [same[labels > 0] for labels in (got[0], expected[0])]
    torch.testing.assert_close(got[1][rows[0]], expected[1][rows[1]], rtol=1e-3, atol=1e-3)


def test_match_anchors(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
