"""What `nms` and `batched_nms` keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from ..cases import clustered_boxes

FAR = 2**62


def inputs(rng, count, *, groups=5, dtype=torch.float32):
    boxes = clustered_boxes(count, max(1, min(count // 8, 30)), rng=rng).to(dtype)
    return boxes, torch.rand(count, generator=rng).to(dtype), torch.randint(groups, (count,), generator=rng)


def same(got, expected):
    """Indices agree exactly: nothing here is a matter of tolerance."""
    assert got.dtype == torch.int64
    assert got.tolist() == expected.tolist()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 65, 300])
def test_agrees_with_reference(face, dtype, rng, count):
    boxes, scores, idxs = inputs(rng, count, dtype=dtype)
    same(face.nms(boxes, scores, 0.45), rx.reference.nms(boxes, scores, 0.45))
    same(face.batched_nms(boxes, scores, idxs, 0.45), rx.reference.batched_nms(boxes, scores, idxs, 0.45))


@pytest.mark.parametrize("count", [2047, 2049, 4500])
def test_agrees_with_reference_on_many(face, rng, count):
    """Groups are tested in chunks of 2048 boxes, and from there on the sort takes wider digits."""
    boxes = clustered_boxes(count, 150, rng=rng, spread=0.02)
    scores = torch.rand(count, generator=rng)
    kept = face.nms(boxes, scores, 0.3)
    assert kept.numel() > 150
    same(kept, rx.reference.nms(boxes, scores, 0.3))


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1e-40, 0.1, 0.5, 0.999, 1.0, 2, math.inf])
def test_thresholds(face, dtype, rng, threshold):
    boxes, scores, idxs = inputs(rng, 200, dtype=dtype)
    kept = face.batched_nms(boxes, scores, idxs, threshold)
    same(kept, rx.reference.batched_nms(boxes, scores, idxs, threshold))
    if threshold >= 1:
        assert kept.numel() == 200
    if threshold < 0:
        assert kept.numel() == 5


@pytest.mark.parametrize(
    "values",
    [[0, 1], [-7, 3, 7], [5], [0, 2047, 2048], [-(2**31), 2**31], [-FAR * 2, 0, FAR * 2 - 1], list(range(300))],
    ids=str,
)
def test_group_numbers_of_any_size(face, rng, values):
    boxes, scores, _ = inputs(rng, 300)
    idxs = torch.tensor(values)[torch.randint(len(values), (300,), generator=rng)]
    same(face.batched_nms(boxes, scores, idxs, 0.3), rx.reference.batched_nms(boxes, scores, idxs, 0.3))


@pytest.mark.parametrize(("wide", "iou"), [(2, 1 / 2), (3, 1 / 3), (5, 1 / 5), (7, 1 / 7), (49, 1 / 49)])
def test_iou_equal_to_the_threshold_is_kept(face, dtype, wide, iou):
    """The IoU is rounded to the working dtype, then compared in double precision: `>`, not `>=`."""
    boxes = torch.tensor([[0, 0, 1, 1], [0, 0, wide, 1]], dtype=dtype)
    scores = torch.tensor([0.9, 0.8], dtype=dtype)
    rounded = iou if dtype == torch.float64 else float(np.float32(iou))
    assert face.nms(boxes, scores, rounded).tolist() == [0, 1]
    assert face.nms(boxes, scores, math.nextafter(rounded, 0)).tolist() == [0]
    assert face.nms(boxes, scores, math.nextafter(rounded, 1)).tolist() == [0, 1]


coordinates = st.integers(0, 6)
small_boxes = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates, st.integers(0, 4), st.integers(-1, 1)), max_size=40
)


def unpack(rows):
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return table[:, :4], table[:, 4] / 4, table[:, 5].to(torch.int64)


@settings(max_examples=200, deadline=None)
@given(small_boxes, st.sampled_from([0.0, 0.2, 0.25, 1 / 3, 0.5, 0.75]))
def test_small_grids_agree_with_reference(rows, threshold):
    """Whole coordinates: duplicates, empty and inverted boxes, tied scores, IoUs on the threshold."""
    boxes, scores, idxs = unpack(rows)
    expected = rx.reference.batched_nms(boxes, scores, idxs, threshold)
    same(rx.batched_nms(boxes, scores, idxs, threshold), expected)
    same(torch.from_numpy(rxn.batched_nms(boxes.numpy(), scores.numpy(), idxs.numpy(), threshold)), expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 0.8]), st.integers(1, 120))
def test_keeps_no_overlap_and_drops_nothing_without_cause(seed, threshold, count):
    rng = torch.Generator().manual_seed(seed)
    boxes, scores, idxs = inputs(rng, count, groups=3)
    kept = rx.batched_nms(boxes, scores, idxs, threshold)
    assert kept.unique().numel() == kept.numel()
    assert scores[kept].diff().le(0).all()
    clash = (rx.reference.box_iou(boxes, boxes).double() > threshold) & (idxs[:, None] == idxs[None, :])
    among_kept = clash[kept][:, kept].fill_diagonal_(False)
    assert not among_kept.any()
    dropped = torch.ones(count, dtype=torch.bool)
    dropped[kept] = False
    better = scores[kept][None, :] > scores[dropped][:, None]
    assert (clash[dropped][:, kept] & better).any(dim=1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_idempotent_and_blind_to_order(seed):
    rng = torch.Generator().manual_seed(seed)
    boxes, _, idxs = inputs(rng, 150)
    scores = torch.randperm(150, generator=rng).float()  # no ties
    kept = rx.batched_nms(boxes, scores, idxs, 0.4)
    again = rx.batched_nms(boxes[kept], scores[kept], idxs[kept], 0.4)
    assert again.tolist() == list(range(kept.numel()))
    shuffle = torch.randperm(150, generator=rng)
    shuffled = rx.batched_nms(boxes[shuffle], scores[shuffle], idxs[shuffle], 0.4)
    assert shuffle[shuffled].tolist() == kept.tolist()


def test_groups_do_not_see_each_other(rng):
    boxes, scores, idxs = inputs(rng, 400)
    kept = rx.batched_nms(boxes, scores, idxs, 0.3)
    for group in idxs.unique():
        rows = (idxs == group).nonzero().flatten()
        assert kept[idxs[kept] == group].tolist() == rows[rx.nms(boxes[rows], scores[rows], 0.3)].tolist()


def test_equal_scores_fall_to_the_lower_index(face):
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 6.0, 6.0]]).repeat(100, 1)
    scores = torch.full((200,), 0.5)
    assert face.nms(boxes, scores, 0.5).tolist() == [0, 1]
    assert face.nms(boxes, scores, 1.0).tolist() == list(range(200))
    idxs = torch.tensor([3, 3, 1, 1, 2, 2] + [2] * 194)
    assert face.batched_nms(boxes, scores, idxs, 0.5).tolist() == [0, 1, 2, 3, 4, 5]


def test_zero_and_negative_zero_are_one_score(face):
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(3, 1)
    assert face.nms(boxes, torch.tensor([-0.0, 0.0, -0.0]), 0.5).tolist() == [0]
    assert face.nms(boxes, torch.tensor([-0.0, 0.0, -0.0]), 1.0).tolist() == [0, 1, 2]


def test_nan_and_infinite_scores(face, dtype):
    boxes = torch.tensor([[float(i), 0, i + 1, 1] for i in range(6)], dtype=dtype)
    scores = torch.tensor([-math.inf, 1.0, math.nan, math.inf, -1.0, math.nan], dtype=dtype)
    assert face.nms(boxes, scores, 0.5).tolist() == [2, 5, 3, 1, 4, 0]
    same(face.nms(boxes[:1].repeat(6, 1), scores, 0.5), torch.tensor([2]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_boxes_with_nan_and_infinity(face, dtype, rng, bad):
    boxes, scores, idxs = inputs(rng, 300, dtype=dtype)
    boxes[torch.rand(300, 4, generator=rng) < 0.1] = bad
    kept = face.batched_nms(boxes, scores, idxs, 0.2)
    same(kept, rx.reference.batched_nms(boxes, scores, idxs, 0.2))
    if math.isnan(bad):
        assert set(boxes.isnan().any(dim=1).nonzero().flatten().tolist()) <= set(kept.tolist())


def test_areas_beyond_the_range_of_the_dtype(face, rng):
    """Areas and their sums overflow, vanish or lose their digits: the quotient is what it is in the reference."""
    boxes, scores, idxs = inputs(rng, 200)
    for side in (1e-25, 1e-22, 3e-22, 1e-21, 1e-19, 1e18, 1.5e19, 1e30):
        for threshold in (0.0, 0.1, 0.45, 0.7):
            same(
                face.batched_nms(boxes * side, scores, idxs, threshold),
                rx.reference.batched_nms(boxes * side, scores, idxs, threshold),
            )


def test_boxes_without_area_overlap_nothing(face, dtype):
    boxes = torch.tensor([[0, 0, 2, 2], [1, 1, 1, 1], [1, 1, 1, 1], [2, 2, 0, 0], [0, 1, 2, 1]], dtype=dtype)
    scores = torch.tensor([5, 4, 3, 2, 1], dtype=dtype)
    for threshold in (0.0, 0.5):
        assert face.nms(boxes, scores, threshold).tolist() == [0, 1, 2, 3, 4]


def test_empty(face, dtype):
    nothing, scores = torch.zeros(0, 4, dtype=dtype), torch.zeros(0, dtype=dtype)
    for kept in (face.nms(nothing, scores, 0.5), face.batched_nms(nothing, scores, torch.zeros(0).long(), 0.5)):
        assert kept.shape == (0,) and kept.dtype == torch.int64


def test_agrees_with_torchvision(rng):
    ops = pytest.importorskip("torchvision.ops")
    boxes, scores, idxs = inputs(rng, 3000)
    assert torch.equal(rx.nms(boxes, scores, 0.45), ops.nms(boxes, scores, 0.45))
    assert torch.equal(rx.batched_nms(boxes, scores, idxs, 0.45), ops.batched_nms(boxes, scores, idxs, 0.45))
