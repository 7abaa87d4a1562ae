from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from ..cases import random_boxes

MODES = ("bipartite", "argmax", "none")


def ground_truth(counts, *, rng, dtype=torch.float32):
    """Boxes, labels and offsets of images with so many objects."""
    offsets = torch.tensor([0, *counts]).cumsum(0)
    total = int(offsets[-1])
    return random_boxes(total, rng=rng, size=0.6).to(dtype), torch.randint(1, 21, (total,), generator=rng), offsets


def assert_same(got, expected):
    """To the bit: overlaps are rounded alike, and decisions leave no room."""
    assert got.labels.dtype == got.gt_index.dtype == torch.int64 and got.iou.dtype == torch.float32
    for name, x, y in zip(rx.Matches._fields, got, expected, strict=True):
        assert x.shape == y.shape and torch.equal(x, y), name


def assert_as_reference(face, *args, **kwargs):
    got = face.match_anchors(*args, **kwargs)
    assert_same(got, rx.reference.match_anchors(*args, **kwargs))
    return got


# sizes with and without a rest in the kernel's blocks of 16 and tiles of 1024
@pytest.mark.parametrize("count", [1, 16, 37, 1024, 1100, 2500])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_agrees_with_reference(face, dtype, rng, count, shared, mode):
    anchors = random_boxes(*(() if shared else (4,)), count, rng=rng).to(dtype)
    truth = ground_truth([3, 0, 1, 9], rng=rng, dtype=dtype)
    assert_as_reference(face, anchors, *truth, force_match=mode)


@pytest.mark.parametrize(
    "thresholds", [(0.7, 0.3), (0.3, 0.3), (0.2, 0.6), (0.0, 0.0), (1.0, 1.0), (0.5, 0.0), (1, 0), (0.1, 0.05)]
)
@pytest.mark.parametrize("mode", MODES)
def test_thresholds(face, rng, thresholds, mode):
    positive, negative = thresholds
    truth = ground_truth([5, 0, 40], rng=rng)
    got = assert_as_reference(
        face, random_boxes(300, rng=rng), *truth, positive_iou=positive, negative_iou=negative, force_match=mode
    )
    assert (got.labels[1] == (0 if negative > 0 else -1)).all()


@pytest.mark.parametrize(("width", "threshold", "matched"), [(7, 0.7, False), (1, 0.1, True), (5, 0.5, True)])
def test_thresholds_are_compared_in_double(face, width, threshold, matched):
    # 7 / 10 rounds below 0.7 in float32, 1 / 10 above 0.1
    anchors, boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0]]), torch.tensor([[0.0, 0.0, width, 1.0]])
    got = assert_as_reference(
        face, anchors, boxes, torch.tensor([4]), torch.tensor([0, 1]), positive_iou=threshold, force_match="none"
    )
    assert got.labels.item() == (4 if matched else 0 if width / 10 < 0.5 else -1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ignore_iof", [0.25, 0.5, 1.0])
def test_crowds(face, rng, mode, ignore_iof):
    boxes, labels, offsets = ground_truth([6, 2, 30], rng=rng)
    ignore = torch.rand(38, generator=rng) < 0.4
    ignore[6:8] = True  # an image with nothing but crowds
    got = assert_as_reference(
        face,
        random_boxes(1100, rng=rng),
        boxes,
        labels,
        offsets,
        gt_ignore=ignore,
        ignore_iof=ignore_iof,
        force_match=mode,
    )
    assert not ignore[got.gt_index[got.gt_index >= 0]].any()
    assert (got.iou[1] == 0).all() and (got.labels[1] == -1).any() and (got.labels[1] == 0).any()


def test_a_crowd_takes_no_match_away(face):
    anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 8.0], [0.0, 0.0, 4.0, 9.0], [20.0, 0.0, 24.0, 4.0]])
    boxes = torch.tensor([[-10.0, -10.0, 10.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    got = face.match_anchors(
        anchors,
        boxes,
        torch.tensor([1, 2]),
        torch.tensor([0, 2]),
        positive_iou=0.6,
        negative_iou=0.6,
        gt_ignore=torch.tensor([True, False]),
    )
    assert got.labels.tolist() == [[2, -1, 0, 0]]  # matched; exactly half inside; less; elsewhere
    assert got.gt_index.tolist() == [[1, -1, -1, -1]]


def test_a_shared_best_anchor(face):
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 3.0], [50.0, 50.0, 60.0, 60.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 8.0]])
    truth = (boxes, torch.tensor([1, 2]), torch.tensor([0, 2]))
    matched = {mode: face.match_anchors(anchors, *truth, force_match=mode).gt_index.tolist()[0] for mode in MODES}
    assert matched == {"bipartite": [0, 1, -1], "argmax": [1, -1, -1], "none": [0, -1, -1]}


@pytest.mark.parametrize("copies", [2, 31, 32, 33, 70])
@pytest.mark.parametrize("anchors_around", [20, 100])
def test_many_equal_ground_truths(face, rng, copies, anchors_around):
    """More rivals for an anchor than the kernel remembers alternatives, and fewer anchors than rivals."""
    center = torch.tensor([0.4, 0.4, 0.6, 0.6])
    anchors = torch.cat(
        [random_boxes(2000, rng=rng, size=0.05), center + torch.rand(anchors_around, 4, generator=rng) / 9]
    )
    anchors = anchors[torch.randperm(len(anchors), generator=rng)]
    boxes = torch.cat([center.expand(copies, 4), random_boxes(3, rng=rng)])
    truth = (boxes, torch.arange(1, copies + 4), torch.tensor([0, copies + 3]))
    got = assert_as_reference(face, anchors, *truth)
    assert len(got.gt_index.unique()) == copies + 4  # -1 and all of them


@pytest.mark.parametrize("copies", [2, 40])
def test_rivals_of_which_some_are_equal(face, rng, copies):
    """Equal ground truths, in any order among others that want the same anchors."""
    kinds = torch.tensor([0.4, 0.4, 0.6, 0.6]) + torch.rand(5, 4, generator=rng) / 50
    boxes = torch.cat([kinds.repeat(copies, 1), random_boxes(3, rng=rng)])
    boxes = boxes[torch.randperm(len(boxes), generator=rng)]
    anchors = torch.cat([kinds[0] + torch.rand(3 * copies, 4, generator=rng) / 20, random_boxes(200, rng=rng)])
    truth = (boxes, torch.arange(1, len(boxes) + 1), torch.tensor([0, len(boxes) // 2, len(boxes)]))
    assert_as_reference(face, anchors, *truth)


@pytest.mark.parametrize(("height", "forced"), [(1.0, False), (1.01, True)])
@pytest.mark.parametrize("mode", ["bipartite", "argmax"])
def test_nothing_is_forced_up_to_a_millionth(face, mode, height, forced):
    anchors, boxes = torch.tensor([[0.0, 0.0, 1000.0, 1000.0]]), torch.tensor([[5.0, 5.0, 6.0, 5.0 + height]])
    got = assert_as_reference(face, anchors, boxes, torch.tensor([9]), torch.tensor([0, 1]), force_match=mode)
    assert got.labels.item() == (9 if forced else 0)


def test_equal_anchors_and_equal_ground_truths(face):
    anchors = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(40, 4)
    boxes = torch.tensor([0.0, 0.0, 1.0, 0.25]).expand(50, 4)
    got = assert_as_reference(face, anchors, boxes, torch.arange(1, 51), torch.tensor([0, 50]))
    assert got.gt_index.tolist() == [list(range(40))]


def test_odd_boxes(face):
    nan, inf = math.nan, math.inf
    odd = [
        [nan, 0, 1, 1],
        [0, nan, 1, 1],
        [0, 0, nan, 1],
        [0, 0, 1, nan],
        [nan, nan, nan, nan],
        [-inf, 0, 1, 1],
        [0, 0, inf, inf],
        [-inf, -inf, inf, inf],
        [inf, inf, inf, inf],
        [-inf, 0.5, inf, 0.5],  # an infinite side times none
        [0.5, 0.5, 0.5, 0.5],
        [0, 0.2, 1, 0.2],
        [1, 1, 0, 0],
        [1, 0, 0, 1],
        [0, 0, 1e30, 1e30],
        [0, 0, 1e-30, 1e-30],
    ]
    plain = [[0, 0, 1, 1], [0.2, 0, 1, 1], [0, 0, 1e30, 1e30], [0, 0, 1e-22, 1e-22]]
    boxes = torch.tensor(odd + plain)
    truth = (boxes, torch.arange(1, len(boxes) + 1), torch.tensor([0, len(boxes)]))
    for mode in MODES:
        assert_as_reference(face, boxes, *truth, force_match=mode)
        assert_as_reference(face, boxes.flip(0), *truth, force_match=mode)
        assert_as_reference(face, boxes, *truth, force_match=mode, gt_ignore=torch.arange(len(boxes)) % 3 == 0)
        got = face.match_anchors(boxes[:5], *truth, force_match=mode)
        assert (got.labels == 0).all() and (got.iou == 0).all()


def test_float64_is_computed_in_float32(face, rng):
    anchors, (boxes, labels, offsets) = random_boxes(2, 90, rng=rng).double(), ground_truth([4, 7], rng=rng)
    anchors += torch.rand(anchors.shape, generator=rng) * 1e-9  # float64 holds it, float32 does not
    expected = face.match_anchors(anchors.float(), boxes, labels, offsets)
    assert_same(face.match_anchors(anchors, boxes.double(), labels, offsets), expected)
    assert_same(face.match_anchors(anchors, boxes, labels, offsets), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("counts", "count"), [([], 5), ([], 0), ([0, 0], 5), ([0, 2], 0), ([0], 0), ([3], 1), ([1], 1)]
)
def test_empty(face, rng, mode, shared, counts, count):
    anchors = random_boxes(*(() if shared else (len(counts),)), count, rng=rng)
    got = assert_as_reference(face, anchors, *ground_truth(counts, rng=rng), force_match=mode)
    assert got.labels.shape == (len(counts), count)


def test_non_contiguous(face, rng):
    anchors, (boxes, labels, offsets) = random_boxes(3, 50, rng=rng), ground_truth([4, 0, 5], rng=rng)
    ignore = torch.arange(9) % 4 == 0
    expected = face.match_anchors(anchors, boxes, labels, offsets, gt_ignore=ignore)
    strided = [
        anchors.transpose(0, 2).contiguous().transpose(0, 2),
        *(torch.stack([x, x], dim=1).flatten(0, 1)[::2] for x in (boxes, labels, offsets, ignore)),
    ]
    assert not any(x.is_contiguous() for x in strided)
    assert_same(face.match_anchors(*strided[:4], gt_ignore=strided[4]), expected)


@pytest.mark.cpu_only
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [True, False])
def test_threads_change_nothing(rng, mode, shared):
    anchors = random_boxes(*(() if shared else (3,)), 20_000, rng=rng)
    truth = ground_truth([60, 0, 300], rng=rng)
    results, threads = [], (torch.get_num_threads(), rxn.get_num_threads())
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            rxn.set_num_threads(count)
            results.append(rx.match_anchors(anchors, *truth, force_match=mode))
            arrays = rxn.match_anchors(anchors.numpy(), *(x.numpy() for x in truth), force_match=mode)
            results.append(rx.Matches(*map(torch.from_numpy, arrays)))
    finally:
        torch.set_num_threads(threads[0])
        rxn.set_num_threads(threads[1])
    for result in results[1:]:
        assert_same(result, results[0])


@pytest.mark.cpu_only
def test_memory_is_bounded():
    """A million anchors and two thousand objects: the matrix of their overlaps would take 8 GB."""
    script = """
import resource
import numpy as np
import refinedet_ext.numpy as rxn
rng = np.random.default_rng(0)
step = np.arange(1000, dtype=np.float32)
corner = np.stack(np.meshgrid(step, step), axis=-1).reshape(-1, 2)
anchors = np.concatenate([corner, corner + 3], axis=1)
corner = rng.random((2000, 2), dtype=np.float32) * 990
boxes = np.concatenate([corner, corner + 1 + 9 * rng.random((2000, 2), dtype=np.float32)], axis=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
matches = rxn.match_anchors(anchors, boxes, np.ones(2000, dtype=np.int64), np.array([0, 2000]))
assert len(np.unique(matches.gt_index)) == 2001
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 100_000  # kB; the results themselves take 20 MB


# Boxes on a small grid: equal overlaps and boxes without area everywhere.
corner = st.integers(0, 4)
grid_boxes = st.tuples(corner, corner, st.integers(0, 3), st.integers(0, 3)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@st.composite
def scenes(draw):
    anchors = draw(st.lists(grid_boxes, min_size=1, max_size=40))
    images = draw(st.lists(st.lists(st.tuples(grid_boxes, st.booleans()), max_size=7), min_size=1, max_size=3))
    objects = [each for image in images for each in image]
    crowds = draw(st.booleans())
    return {
        "anchors": torch.tensor(anchors).float(),
        "gt_boxes": torch.tensor([box for box, _ in objects]).float().reshape(-1, 4),
        "gt_labels": torch.arange(1, len(objects) + 1),
        "gt_offsets": torch.tensor([0, *map(len, images)]).cumsum(0),
        "gt_ignore": torch.tensor([flag for _, flag in objects], dtype=torch.bool) if crowds else None,
    }


@settings(max_examples=150, deadline=None)
@given(scenes(), st.sampled_from(MODES), st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.25, 0.25), (1.0, 0.125)]))
def test_ties_fall_as_in_the_reference(scene, mode, thresholds):
    kwargs = {**scene, "force_match": mode, "positive_iou": thresholds[0], "negative_iou": thresholds[1]}
    assert_as_reference(rx, **kwargs)


@settings(max_examples=150, deadline=None)
@given(scenes(), st.sampled_from(MODES))
def test_what_always_holds(scene, mode):
    matches = rx.match_anchors(**scene, force_match=mode, positive_iou=0.6, negative_iou=0.4)
    rows, ignore = scene["gt_boxes"], scene["gt_ignore"]
    for b, (labels, gt_index, best) in enumerate(zip(*matches, strict=True)):
        first, last = scene["gt_offsets"][b : b + 2].tolist()
        positive = labels > 0
        assert torch.equal(positive, gt_index >= 0)
        assert torch.equal(scene["gt_labels"][gt_index[positive]], labels[positive])
        assert ((gt_index[positive] >= first) & (gt_index[positive] < last)).all()
        assert ((labels >= -1) & ((labels != 0) | (best < 0.4))).all()
        if mode == "none":
            assert torch.equal(positive, best >= 0.6)
        else:
            assert (positive | (best < 0.6)).all()
        if mode == "bipartite":
            usable = [row for row in range(first, last) if ignore is None or not ignore[row]]
            overlaps = rx.reference.box_iou(scene["anchors"], rows[usable])
            for column, row in enumerate(usable):
                if int((overlaps[:, column] > 1e-6).sum()) >= len(usable):
                    assert (gt_index == row).any(), "a ground truth with enough anchors went without"
