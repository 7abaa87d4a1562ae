"""Suppression that keeps thousands of boxes of a group, where the CPU looks them up by where they are and how large."""

from __future__ import annotations

import math

import pytest
import torch

import refinedet_ext as rx

from ..threads import with_threads
from .test_batched_nms import same

pytestmark = pytest.mark.cpu_only
COUNT = 7000  # more than 4096: with a smaller group all kept boxes are tested


def scene(kind, rng):
    center, part = torch.rand(COUNT, 2, generator=rng), torch.rand(COUNT, 2, generator=rng)
    if kind == "equal sizes":
        half = torch.full((COUNT, 2), 0.004)
    elif kind == "all sizes":
        half = 10 ** (-3.5 + 2.5 * part[:, :1]) * (0.7 + 0.6 * part)
    elif kind == "thin":
        half = 10 ** (-4 + 3 * part)
    elif kind == "crowd":  # each touches hundreds of others
        half = 0.04 + 0.02 * part
    elif kind == "on a lattice":  # boxes and squares share their edges
        center, half = (center * 128).round() / 128, (1 + (part * 3).floor()) / 256
    elif kind == "far out":
        center, half = center * 1e6 - 3e6, 1000 + 6000 * part
    elif kind == "minute":  # areas at the end of the range of float32
        center, half = center * 1e-13, (1 + part) * 5e-16
    else:
        center, half = center * 1e19, (1 + part) * 4e16  # areas beyond that
    return torch.cat([center - half, center + half], dim=1)


@pytest.mark.parametrize(
    "kind", ["equal sizes", "all sizes", "thin", "crowd", "on a lattice", "far out", "minute", "huge"]
)
@pytest.mark.parametrize("threshold", [0.04, 0.3, 0.5, 0.95])
def test_agrees_with_reference(kind, threshold, rng):
    boxes, scores = scene(kind, rng), torch.rand(COUNT, generator=rng)
    boxes[::997, 0], boxes[5::1999, 2], boxes[7::1501, 2] = math.nan, math.inf, boxes[7::1501, 0]
    same(rx.nms(boxes, scores, threshold), rx.reference.nms(boxes, scores, threshold))


def test_equal_boxes_one_by_one(rng):
    """Of each box there are two, far apart in score; nothing else overlaps."""
    boxes = torch.stack(torch.meshgrid(torch.arange(80.0), torch.arange(60.0), indexing="ij"), dim=-1).reshape(-1, 2)
    boxes = torch.cat([boxes, boxes + 0.75], dim=1).repeat(2, 1)
    scores = torch.cat([1 + torch.rand(4800, generator=rng), torch.rand(4800, generator=rng)])
    same(rx.nms(boxes, scores, 0.7), scores[:4800].argsort(descending=True, stable=True))


def test_float64_groups_and_threads(rng):
    """A large group beside small ones; in float64 sizes differ by more."""
    boxes = torch.cat([scene("all sizes", rng), scene("thin", rng)]).double()
    boxes[:50] *= 1e-12
    scores, groups = torch.rand(2 * COUNT, generator=rng), (torch.arange(2 * COUNT) % 40 == 0).long()
    for threshold in (0.2, 0.6):
        runs = with_threads(lambda t=threshold: (rx.batched_nms(boxes, scores, groups, t),), 1, 2, 5)
        same(runs[0][0], rx.reference.batched_nms(boxes, scores, groups, threshold))
        assert all(torch.equal(run[0], runs[0][0]) for run in runs)
