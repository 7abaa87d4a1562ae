"""Negative anchor filtering beside its reference and the usual torch code: softmax, comparison, nonzero per image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import refinedet_ext as rx

from ...case import Case, Peer, size_of
from ...inputs import detector_outputs, pyramid_anchors
from ...peers import reference_peer

SHAPES = [(320, 1, 390), (320, 1, 1460), (512, 8, 1000), (512, 32, 1000)]  # image size, images, anchors left


def inputs(size: int, images: int, survivors: int, dtype: torch.dtype) -> tuple[Tensor]:
    anchors = pyramid_anchors(size)
    rng = torch.Generator().manual_seed(0)
    return (detector_outputs(anchors, images, 21, survivors, 1400, rng)[0].to(dtype),)


def plain(arm_logits: Tensor) -> list[Tensor]:
    """Indices of each image's anchors."""
    return [row.nonzero().flatten() for row in plain_mask(arm_logits)]


def plain_mask(arm_logits: Tensor) -> Tensor:
    return arm_logits.softmax(-1)[..., 0] <= 0.99


def same_rows(got: list[Tensor], expected: Any) -> bool:
    """Up to those at the threshold, where a softmax rounds."""
    return all(abs(len(rows) - int(n)) <= 0.05 * int(n) for rows, n in zip(got, expected.count, strict=True))


def same_mask(got: Tensor, expected: Tensor) -> bool:
    return bool((got != expected).float().mean() < 5e-3)


def cases() -> Iterator[Case]:
    for size, images, survivors in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            count = len(pyramid_anchors(size))
            small = torch.empty(images, count, 2, dtype=dtype)
            name = f"B={images}, {count} anchors, {survivors} kept"
            typical = (size, images) == (512, 8)
            make = partial(inputs, size, images, survivors, dtype)
            yield Case(
                "filter_anchors",
                name,
                rx.filter_anchors,
                make,
                rx.reference.filter_anchors,
                {**reference_peer(rx.reference.filter_anchors), "torch": Peer(plain, agrees=same_rows)},
                dtype=str(dtype)[6:],
                exact=True,
                bytes=size_of(small) + 8 * images * (count + 1),
                short=typical and dtype == torch.float32,
            )
            yield Case(
                "filter_anchors_mask",
                name,
                rx.filter_anchors_mask,
                make,
                rx.reference.filter_anchors_mask,
                {
                    **reference_peer(rx.reference.filter_anchors_mask, compile=typical),
                    "torch": Peer(plain_mask, agrees=same_mask),
                },
                dtype=str(dtype)[6:],
                exact=True,
                bytes=size_of(small) + images * count,
                short=typical and dtype == torch.float32,
            )


def test_filter_anchors(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
