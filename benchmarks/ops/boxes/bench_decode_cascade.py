"""Both stages' decoding in one pass beside its reference and torchvision's box coder twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, both_ways, size_of
from ...inputs import detector_outputs, pyramid_anchors
from ...peers import optional, reference_peer
from .bench_decode_boxes import result_close

# image size, images, anchors that the first stage leaves (None: decode all)
SHAPES = [(320, 1, None), (320, 1, 390), (512, 8, None), (512, 8, 1000), (512, 32, None)]


def inputs(size: int, images: int, survivors: int | None, dtype: torch.dtype) -> tuple[Any, ...]:
    anchors = pyramid_anchors(size)
    if survivors is None:
        rng = torch.Generator().manual_seed(0)
        arm, odm = (torch.randn(images, len(anchors), 4, generator=rng) * 0.5 for _ in range(2))
        return arm.to(dtype), odm.to(dtype), anchors.to(dtype)
    outputs = detector_outputs(anchors, images, 21, survivors, 1400, torch.Generator().manual_seed(0))
    return outputs[1].to(dtype), outputs[3].to(dtype), anchors.to(dtype), rx.filter_anchors(outputs[0])


def with_kept(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda arm, odm, anchors, kept=None: op(arm, odm, anchors, kept=kept)


def torchvision_peer() -> Peer | None:
    utils = optional("torchvision.models.detection._utils")
    if utils is None:
        return None
    coder = utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    return Peer(
        lambda arm, odm, anchors: coder.decode_single(odm, coder.decode_single(arm, anchors)),
        prepare=lambda arm, odm, anchors: (arm.flatten(0, 1), odm.flatten(0, 1), anchors.repeat(len(arm), 1)),
        agrees=result_close(3e-2),
    )


def cases() -> Iterator[Case]:
    for size, images, survivors in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            if survivors is not None and dtype == torch.bfloat16:
                continue
            count = len(pyramid_anchors(size))
            typical = (size, images, survivors) == (512, 8, None)
            peers: dict[str, Peer | None] = {**reference_peer(with_kept(rx.reference.decode_cascade), compile=typical)}
            if survivors is None:  # it knows no subset
                peers["torchvision"] = torchvision_peer()
            forward, both = both_ways(
                Case(
                    "decode_cascade",
                    f"B={images}, {count} anchors" + ("" if survivors is None else f", {survivors} kept"),
                    with_kept(rx.decode_cascade),
                    partial(inputs, size, images, survivors, dtype),
                    with_kept(rx.reference.decode_cascade),
                    peers,
                    dtype=str(dtype)[6:],
                    # what is not kept is written only, as zeros
                    bytes=size_of(torch.empty(images, count, 4, dtype=dtype)) * (3 if survivors is None else 1),
                    gradients=(0, 1),
                    short=typical or (survivors == 1000 and images == 8),
                )
            )
            yield forward
            if survivors is None:
                yield both


def test_decode_cascade(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
