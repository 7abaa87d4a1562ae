"""The box ops of inference beside torchvision and plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ..case import Op, Peer, Target, on_cpu
from ..inputs import detections, detector_outputs, pyramid_anchors
from ..peers import torchvision_ops
from .case import MEGABYTES, MICROSECONDS, GpuCase, GpuPeer

Nms = Callable[[Tensor, Tensor, Tensor, float], Tensor]
IOU = 0.45
DISTINCT = 8  # images of a batch that differ; they are repeated, since making one takes a CPU 0.1 s


def exact_case(
    op: str, name: str, ours: Op, inputs: Callable[[], Sequence[Tensor]], peers: Mapping[str, Peer | None], **rest: Any
) -> GpuCase:
    """The CPU kernel says what the GPU's must give, bit for bit; tests hold that to the reference."""
    return GpuCase(op, name, ours, inputs, on_cpu(ours), peers, exact=True, **rest)


def made(device: str, make: Callable[..., Sequence[Tensor]], *arguments: Any) -> tuple[Tensor, ...]:
    """On the device what `make` gives on the CPU."""
    return tuple(t.to(device) for t in make(*arguments))


def synchronizing(run: Op | None) -> GpuPeer | None:
    """A peer that waits for the GPU, so that no graph can replay it."""
    return None if run is None else GpuPeer(run, capturable=False)


@lru_cache(maxsize=1)
def nms_inputs(count: int, classes: int) -> tuple[Tensor, ...]:
    return detections(count, classes, torch.Generator().manual_seed(0))


def boxes_and_scores(count: int) -> tuple[Tensor, ...]:
    return nms_inputs(count, 1)[:2]


def nms_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    many = ((5000, 20), (16320, 80), (5000, 80), (16320, 20), (1000, 20), (200_000, 80))
    for count, classes in ((300, 20),) if small else many:
        name = f"{count} boxes, {classes} classes"
        targets: tuple[Target, ...] = ()
        if 5000 <= count <= 16320:
            targets = (Target(3.0, "torchvision"),)
        elif count == 200_000:
            targets = (Target(64, MEGABYTES),)
        for op in (rx.batched_nms, rx.batched_nms_padded):
            yield exact_case(
                op.__name__,
                name,
                partial(op, iou_threshold=IOU),
                partial(made, device, nms_inputs, count, classes),
                {"torchvision": synchronizing(vision and partial(vision.batched_nms, iou_threshold=IOU))},
                capturable=op is rx.batched_nms_padded,
                targets=targets,
            )
    for count in (300,) if small else (5000, 16320):
        yield exact_case(
            "nms",
            f"{count} boxes",
            partial(rx.nms, iou_threshold=IOU),
            partial(made, device, boxes_and_scores, count),
            {"torchvision": synchronizing(vision and partial(vision.nms, iou_threshold=IOU))},
            capturable=False,
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


@lru_cache(maxsize=1)
def detect_inputs(size: int, images: int, columns: int) -> tuple[Tensor, ...]:
    """arm_logits, arm_deltas, odm_logits, odm_deltas, anchors."""
    anchors = pyramid_anchors(size)
    survivors, candidates = survivors_of(size)
    distinct = min(images, DISTINCT)
    outputs = detector_outputs(anchors, distinct, columns, survivors, candidates, torch.Generator().manual_seed(0))
    return *(t.repeat(images // distinct, 1, 1) for t in outputs), anchors


def survivors_of(size: int) -> tuple[int, int]:
    """Anchors that pass the first stage of a trained detector, and their scores above 0.01."""
    return (390, 1400) if size == 320 else (1000, 3600)


@lru_cache(maxsize=1)
def scored_boxes(size: int, images: int, columns: int) -> tuple[Tensor, Tensor]:
    _, arm_deltas, odm_logits, _, anchors = detect_inputs(size, images, columns)
    return rx.decode_boxes(arm_deltas, anchors), odm_logits.softmax(-1)[..., 1:].contiguous()


def tail_targets(images: int) -> tuple[Target, ...]:
    wanted = {1: (Target(60, MICROSECONDS),), 8: (Target(10.0, "torch + torchvision"),)}
    return wanted.get(images, ())


# image size, images, columns
TAILS = ((320, 8, 21), (320, 1, 21), (512, 8, 81), (320, 1, 81), (512, 32, 21))


def detect_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    for shape in [(320, 1, 21)] if small else TAILS:
        size, images, columns = shape
        count = len(pyramid_anchors(size))
        yield exact_case(
            "detect",
            f"B={images}, {count} anchors, {columns} columns",
            rx.detect,
            partial(made, device, detect_inputs, *shape),
            {"torch + torchvision": synchronizing(vision and partial(plain_detect, vision.batched_nms))},
            bytes=images * (count * 8 + survivors_of(size)[0] * (columns + 8) * 4),
            targets=tail_targets(images),
        )


def multiclass_cases(device: str, small: bool) -> Iterator[GpuCase]:
    vision = torchvision_ops()
    for shape in [(320, 1, 21)] if small else TAILS:
        size, images, columns = shape
        count = len(pyramid_anchors(size))
        yield exact_case(
            "multiclass_nms",
            f"B={images}, {count} boxes, {columns - 1} classes",
            rx.multiclass_nms,
            partial(made, device, scored_boxes, *shape),
            {"torch + torchvision": synchronizing(vision and partial(plain_multiclass, vision.batched_nms))},
            bytes=images * count * (columns - 1) * 4,
            targets=tail_targets(images),
        )


def coding_inputs(images: int, size: int, dtype: torch.dtype, op: str) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    anchors = pyramid_anchors(size).to(dtype)
    arm, odm = ((torch.randn(images, len(anchors), 4, generator=rng) * 0.5).to(dtype) for _ in range(2))
    inputs = {
        "decode_boxes": (arm, anchors),
        "encode_boxes": (rx.decode_boxes(arm, anchors), anchors),
        "decode_cascade": (arm, odm, anchors),
        "filter_anchors": (arm[..., :2].contiguous() * 8,),
        "filter_anchors_mask": (arm[..., :2].contiguous() * 8,),
    }
    return inputs[op]


def coding_cases(device: str, small: bool) -> Iterator[GpuCase]:
    images, size = (2, 320) if small else (32, 512)
    count = len(pyramid_anchors(size))
    # values read and written for an anchor in an image, anchors that are read once, bytes that are no values
    traffic = {
        "decode_boxes": (8, 4, 0),
        "encode_boxes": (8, 4, 0),
        "decode_cascade": (12, 4, 0),
        "filter_anchors": (2, 0, 8),
        "filter_anchors_mask": (2, 0, 1),
    }
    for dtype in (torch.float32, torch.bfloat16):
        for op, (values, once, indices) in traffic.items():
            reference = getattr(rx.reference, op)
            yield exact_case(
                op,
                f"B={images}, {count} anchors, {str(dtype)[6:]}",
                getattr(rx, op),
                partial(made, device, coding_inputs, images, size, dtype, op),
                {"torch": synchronizing(reference) if op == "filter_anchors" else GpuPeer(reference)},
                bytes=count * ((images * values + once) * dtype.itemsize + images * indices),
            )
