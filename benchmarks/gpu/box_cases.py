"""The box ops beside torchvision and plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx

from ..case import Op, Peer, on_cpu, size_of
from ..inputs import detections, detector_outputs, ground_truth, pyramid_anchors
from ..ops.losses.bench_mine_hard_negatives import two_sorts
from ..ops.losses.bench_mined_cross_entropy import inputs as loss_inputs
from ..ops.losses.bench_mined_cross_entropy import plain_loss
from ..ops.matching.bench_match_anchors import plain_box_iou
from ..peers import torchvision_ops
from .case import GpuCase, to

Nms = Callable[[Tensor, Tensor, Tensor, float], Tensor]
IOU = 0.45


def exact_case(
    op: str, name: str, ours: Op, inputs: Callable[[], Sequence[Tensor]], peers: dict[str, Op | None], **rest: Any
) -> GpuCase:
    """The CPU kernel says what the GPU's must give, bit for bit; tests hold that to the reference."""
    shown = {peer: None if run is None else Peer(run) for peer, run in peers.items()}
    return GpuCase(op, name, ours, inputs, on_cpu(ours), shown, exact=True, **rest)


def nms_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    many = ((1000, 20), (5000, 20), (5000, 80), (16320, 20), (16320, 80), (200_000, 80))
    for count, classes in ((300, 20),) if small else many:
        cpu = detections(count, classes, torch.Generator().manual_seed(0))
        name = f"{count} boxes, {classes} classes"
        for op in (rx.batched_nms, rx.batched_nms_padded):
            yield exact_case(
                op.__name__,
                name,
                partial(op, iou_threshold=IOU),
                partial(to, device, cpu),
                {"torchvision": vision and partial(vision.batched_nms, iou_threshold=IOU)},
                capturable=op is rx.batched_nms_padded,
                peers_capturable=False,
            )
        yield exact_case(
            "nms",
            f"{count} boxes",
            partial(rx.nms, iou_threshold=IOU),
            partial(to, device, cpu[:2]),
            {"torchvision": vision and partial(vision.nms, iou_threshold=IOU)},
            capturable=False,
            peers_capturable=False,
        )


def gather_rows(table: Tensor, rows: Tensor) -> Tensor:
    return table.gather(1, rows[..., None].expand(-1, -1, table.shape[2]))


def suppress_images(nms: Nms, boxes: Tensor, scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Rows of (B, K) candidates that are left: one call of `nms` for all images and classes."""
    image = torch.arange(len(boxes), device=boxes.device)[:, None]
    valid = scores > 0.01
    return nms(boxes[valid], scores[valid], (image * classes + labels)[valid], IOU)


def plain_multiclass(nms: Nms, boxes: Tensor, scores: Tensor) -> Tensor:
    classes = scores.shape[2]
    top, at = scores.flatten(1).topk(400, dim=1)
    return suppress_images(nms, gather_rows(boxes, at // classes), top, at % classes, classes)


def plain_detect(nms: Nms, arm_logits: Tensor, arm: Tensor, odm_logits: Tensor, odm: Tensor, anchors: Tensor) -> Tensor:
    """The inference tail as good vectorised torch, all images at once."""
    classes = odm_logits.shape[2] - 1
    scores = odm_logits.softmax(-1)[..., 1:] * (arm_logits.softmax(-1)[..., :1] <= 0.99)
    top, at = scores.flatten(1).topk(400, dim=1)
    rows = at // classes
    refined = rx.reference.decode_boxes(gather_rows(arm, rows), anchors[rows])
    boxes = rx.reference.decode_boxes(gather_rows(odm, rows), refined)
    return suppress_images(nms, boxes, top, at % classes, classes)


def detect_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    shapes = [(320, 1, 21), (320, 1, 81), (320, 8, 21), (512, 8, 81), (512, 32, 21)]
    for size, images, columns in shapes[:1] if small else shapes:
        anchors = pyramid_anchors(size)
        survivors, candidates = (390, 1400) if size == 320 else (1000, 3600)
        outputs = detector_outputs(anchors, images, columns, survivors, candidates, torch.Generator().manual_seed(0))
        cpu = (*outputs, anchors)
        yield exact_case(
            "detect",
            f"B={images}, {len(anchors)} anchors, {columns} columns",
            rx.detect,
            partial(to, device, cpu),
            {"torch + torchvision": vision and partial(plain_detect, vision.batched_nms)},
            bytes=size_of(outputs[0]) + images * survivors * (columns + 8) * 4,
            peers_capturable=False,
        )
        decoded = rx.decode_boxes(outputs[1], anchors), outputs[2].softmax(-1)[..., 1:].contiguous()
        yield exact_case(
            "multiclass_nms",
            f"B={images}, {len(anchors)} boxes, {columns - 1} classes",
            rx.multiclass_nms,
            partial(to, device, decoded),
            {"torch + torchvision": vision and partial(plain_multiclass, vision.batched_nms)},
            bytes=size_of(decoded[1]),
            peers_capturable=False,
        )


def match_by_matrix(
    ranges: list[tuple[int, int]], anchors: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor
) -> list[Tensor]:
    """What SSD code does image by image, without waiting for the GPU: the host knows the offsets."""
    results = []
    for first, last in ranges:
        if first == last:
            results.append(torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device))
            continue
        overlaps = plain_box_iou(anchors, boxes[first:last])
        best, which = overlaps.max(dim=1)
        forced = overlaps.argmax(dim=0)
        best[forced] = 2.0
        which[forced] = torch.arange(last - first, device=anchors.device)
        results.append(torch.where(best >= 0.5, labels[first:last][which], 0))
    return results


def matching_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for size, images, objects in [(320, 2, 5.0)] if small else [(320, 32, 8.4), (512, 32, 8.4), (512, 8, 100.0)]:
        cpu = pyramid_anchors(size), *ground_truth(images, objects, torch.Generator().manual_seed(0))
        offsets = cpu[3].tolist()
        for force in ("argmax", "bipartite"):
            yield exact_case(
                "match_anchors",
                f"B={images}, {len(cpu[0])} anchors, {objects} objects, {force}",
                partial(rx.match_anchors, force_match=force),
                partial(to, device, cpu),
                {"torch": partial(match_by_matrix, list(zip(offsets, offsets[1:], strict=False)))},
                bytes=images * len(cpu[0]) * 20,
                peers_capturable=False,
            )


def mining_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for images, count in [(2, 500)] if small else [(32, 6375), (32, 16320), (1, 1_000_000)]:
        rng = torch.Generator().manual_seed(0)
        loss = F.softplus(torch.randn(images, count, generator=rng) * 2 - 5)
        cpu = loss, (torch.rand(images, count, generator=rng) < 0.01).long()
        yield exact_case(
            "mine_hard_negatives",
            f"B={images}, {count} anchors",
            rx.mine_hard_negatives,
            partial(to, device, cpu),
            {"two sorts": partial(two_sorts, eligible=None)},
            bytes=images * count * 13,
        )


def loss_cases(device: str, small: bool) -> Iterator[GpuCase]:
    for images, count, classes in [(2, 500, 5)] if small else [(32, 6375, 2), (32, 6375, 21), (8, 16320, 81)]:
        cpu = loss_inputs((images, count, classes), filtered=False)[:2]
        name = f"B={images}, {count} anchors, {classes} columns"
        yield GpuCase(
            "mined_cross_entropy",
            name,
            summed_loss,
            partial(to, device, cpu),
            on_cpu(summed_loss),
            {"torch": Peer(partial(plain_loss, eligible=None))},
            bytes=size_of(*cpu),
        )


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return rx.mined_cross_entropy(logits, labels).loss


def coding_cases(device: str, small: bool) -> Iterator[GpuCase]:
    images, size = (2, 320) if small else (32, 512)
    rng = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        anchors = pyramid_anchors(size).to(dtype)
        arm, odm = ((torch.randn(images, len(anchors), 4, generator=rng) * 0.5).to(dtype) for _ in range(2))
        logits = arm[..., :2].contiguous() * 8
        name = f"B={images}, {len(anchors)} anchors, {str(dtype)[6:]}"
        boxes = rx.decode_boxes(arm, anchors)
        for op, cpu in (
            ("decode_boxes", (arm, anchors)),
            ("encode_boxes", (boxes, anchors)),
            ("decode_cascade", (arm, odm, anchors)),
            ("filter_anchors", (logits,)),
        ):
            ours, reference = getattr(rx, op), getattr(rx.reference, op)
            written = 8 * images * len(anchors) if op == "filter_anchors" else size_of(arm)
            yield exact_case(
                op,
                name,
                ours,
                partial(to, device, cpu),
                {"torch": reference},
                bytes=size_of(*cpu) + written,
                peers_capturable=op != "filter_anchors",
            )
