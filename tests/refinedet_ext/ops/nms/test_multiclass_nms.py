"""What `multiclass_nms` detects."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..cases import TOLERANCES, clustered_boxes

METHODS = ["hard", "linear", "gaussian"]


def inputs(rng, batch, anchors, classes, *, dtype=torch.float32, score_dtype=None):
    """Boxes around a few objects; most scores low, some with a favourite class."""
    boxes = torch.stack([clustered_boxes(anchors, max(1, anchors // 8), rng=rng) for _ in range(batch)])
    scores = torch.rand(batch, anchors, classes, generator=rng) ** 4
    return boxes.to(dtype), scores.to(score_dtype or dtype)


def check(got, expected, *, exact):
    assert [x.dtype for x in got] == [x.dtype for x in expected]
    assert [x.shape for x in got] == [x.shape for x in expected]
    assert torch.equal(got.count, expected.count)
    if exact:
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one, other)
        return
    # scores a rounding apart may trade places
    torch.testing.assert_close(got.scores, expected.scores, **TOLERANCES[got.scores.dtype])
    assert torch.equal(got.labels.sort(dim=1).values, expected.labels.sort(dim=1).values)
    torch.testing.assert_close(got.boxes.double().sum(dim=1), expected.boxes.double().sum(dim=1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 17, 3), (3, 70, 1), (1, 130, 21)], ids=str)
def test_agrees_with_reference(face, dtype, rng, shape, method):
    boxes, scores = inputs(rng, *shape, dtype=dtype)
    got = face.multiclass_nms(boxes, scores, method=method)
    check(got, rx.reference.multiclass_nms(boxes, scores, method=method), exact=method != "gaussian")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("top_k_per_class", [None, 1, 7, 1000])
@pytest.mark.parametrize("top_k", [None, 1, 30])
@pytest.mark.parametrize("keep_top_k", [0, 1, 25, 300])
def test_limits(face, rng, method, top_k_per_class, top_k, keep_top_k):
    boxes, scores = inputs(rng, 2, 60, 3)
    scores = (scores * 16).round() / 16  # ties at every limit
    limits = {"top_k_per_class": top_k_per_class, "top_k": top_k, "keep_top_k": keep_top_k, "method": method}
    got = face.multiclass_nms(boxes, scores, **limits)
    check(got, rx.reference.multiclass_nms(boxes, scores, **limits), exact=method != "gaussian")


@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64"), ("float16", "float32")], ids=str)
@pytest.mark.parametrize("method", ["hard", "linear"])
def test_boxes_and_scores_of_two_dtypes(face, rng, dtypes, method):
    """Computed in the wider one; each result keeps its own."""
    box_dtype, score_dtype = (getattr(torch, name) for name in dtypes)
    boxes, scores = inputs(rng, 2, 90, 4, dtype=box_dtype, score_dtype=score_dtype)
    got = face.multiclass_nms(boxes, scores, method=method)
    assert (got.boxes.dtype, got.scores.dtype) == (box_dtype, score_dtype)
    check(got, rx.reference.multiclass_nms(boxes, scores, method=method), exact=True)


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 5, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_empty(face, dtype, shape, method):
    batch, anchors, classes = shape
    boxes, scores = torch.zeros(batch, anchors, 4, dtype=dtype), torch.ones(batch, anchors, classes, dtype=dtype)
    got = face.multiclass_nms(boxes, scores, keep_top_k=7, method=method)
    assert [tuple(x.shape) for x in got] == [(batch, 7, 4), (batch, 7), (batch, 7), (batch,)]
    assert (got.boxes.dtype, got.scores.dtype) == (dtype, dtype)
    assert all(not x.any() for x in got)


def test_an_image_without_candidates_beside_others(face, rng):
    boxes, scores = inputs(rng, 3, 40, 2)
    scores[1] = 0.005
    got = face.multiclass_nms(boxes, scores, keep_top_k=50)
    assert got.count[1] == 0 and (got.count[[0, 2]] > 0).all()
    for b, count in enumerate(got.count.tolist()):
        assert all(not x[b, count:].any() for x in got[:3])
        assert (got.scores[b, :count] > 0.01).all()
        assert (got.labels[b, :count] >= 1).all()


def test_scores_equal_to_the_threshold_are_dropped(face, dtype):
    boxes = torch.tensor([[[float(i), 0, i + 1, 1] for i in range(4)]], dtype=dtype)
    half = torch.tensor(0.5, dtype=dtype)
    scores = torch.stack([half, half * 1.125, half * 0.875, half * -1])[None, :, None]
    assert face.multiclass_nms(boxes, scores, score_threshold=0.5).count.tolist() == [1]
    assert face.multiclass_nms(boxes, scores, score_threshold=0.4999).count.tolist() == [2]
    assert face.multiclass_nms(boxes, scores, score_threshold=-0.5).count.tolist() == [3]
    assert face.multiclass_nms(boxes, scores, score_threshold=-1).count.tolist() == [4]
    # 0.01 is no float32: as a threshold it lies above the float32 next to it
    close = torch.tensor([[[0.01], [0.010000001]]])
    assert face.multiclass_nms(boxes[:, :2].float(), close).scores[0, :2].tolist() == [close[0, 1, 0].item(), 0.0]


def test_ties_fall_to_the_lower_class_then_the_lower_anchor(face):
    boxes = torch.tensor([[[float(9 - i), 0, 9.5 - i, 1] for i in range(10)]])
    scores = torch.full((1, 10, 3), 0.5)
    for method in METHODS:
        got = face.multiclass_nms(boxes, scores, top_k_per_class=4, top_k=10, keep_top_k=9, method=method)
        assert got.labels.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 3]]
        assert got.boxes[0, :, 0].tolist() == [9, 8, 7, 6, 9, 8, 7, 6, 9]


@pytest.mark.parametrize("limits", [{}, {"top_k": None}, {"top_k_per_class": 33}], ids=str)
@pytest.mark.parametrize("levels", [1, 3])
def test_hundreds_of_equal_scores(face, rng, levels, limits):
    """More than the bins that order candidates leave to insertion."""
    boxes, scores = inputs(rng, 2, 300, 3)
    scores = 0.25 * torch.randint(1, 1 + levels, scores.shape, generator=rng)
    got = face.multiclass_nms(boxes, scores, **limits)
    check(got, rx.reference.multiclass_nms(boxes, scores, **limits), exact=True)


def test_best_candidates_that_suppress_each_other(face):
    """The best four candidates per wanted detection do not give enough: the others are looked at after all."""
    boxes = torch.zeros(2, 600, 4)
    boxes[..., 2:] = 1.0
    boxes[0, 550:] = torch.tensor([[2.0 + i, 0.0, 3.0 + i, 1.0] for i in range(50)])
    scores = torch.linspace(0.9, 0.1, 600)[None, :, None].repeat(2, 1, 2)
    for limits in ({"top_k": None}, {"top_k": 560}, {"top_k": None, "top_k_per_class": 555}):
        got = face.multiclass_nms(boxes, scores, keep_top_k=10, **limits)
        check(got, rx.reference.multiclass_nms(boxes, scores, keep_top_k=10, **limits), exact=True)
        assert got.count[1] == 2


def test_nan_and_infinite_scores(face, dtype):
    boxes = torch.tensor([[[float(i), 0, i + 1, 1] for i in range(4)]], dtype=dtype)
    scores = torch.tensor([[[math.nan], [math.inf], [0.5], [-math.inf]]], dtype=dtype)
    for method in METHODS:
        got = face.multiclass_nms(boxes, scores, keep_top_k=3, method=method)
        assert got.scores.tolist() == [[math.inf, 0.5, 0.0]]
    # an infinite score times 0 is no number any more: the box is dropped
    twice = face.multiclass_nms(boxes[:, :1].repeat(1, 2, 1), scores[:, 1:2].repeat(1, 2, 1), method="linear")
    assert twice.count.tolist() == [1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["hard", "linear"])
def test_boxes_with_nan_and_infinity(face, dtype, rng, bad, method):
    boxes, scores = inputs(rng, 2, 80, 3, dtype=dtype)
    boxes[torch.rand(boxes.shape, generator=rng) < 0.1] = bad
    got = face.multiclass_nms(boxes, scores, method=method)
    expected = rx.reference.multiclass_nms(boxes, scores, method=method)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_linear_decay_by_hand(face, dtype):
    """IoU 1/2 with the first box: the score of the second is halved, falls behind the third; the fourth is dropped."""
    boxes = torch.tensor([[[0, 0, 2, 1], [0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 2, 1]]], dtype=dtype)
    scores = torch.tensor([[[0.75], [0.5], [0.375], [0.25]]], dtype=dtype)
    got = face.multiclass_nms(boxes, scores, method="linear", iou_threshold=0.3, keep_top_k=5, min_score=0.25)
    assert got.scores.tolist() == [[0.75, 0.375, 0.25, 0.0, 0.0]]  # 0.25 is not below min_score
    assert got.boxes[0, :3].tolist() == boxes[0, [0, 2, 1]].tolist()
    at_threshold = face.multiclass_nms(boxes, scores, method="linear", iou_threshold=0.5, keep_top_k=5)
    assert at_threshold.scores.tolist() == [[0.75, 0.5, 0.375, 0.0, 0.0]]


@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("anchors", [3, 7, 8, 100, 1100])
def test_a_score_below_zero_does_not_rise_to_it(face, anchors, method):
    """Equal boxes, of which the last is picked: a decay of nothing makes minus one to minus zero."""
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]).repeat(1, anchors, 1)
    scores = torch.full((1, anchors, 1), -1.0)
    scores[0, -1] = 0.0
    options = {"score_threshold": -2.0, "min_score": 0.0, "sigma": 1e-3, "top_k": 2000, "keep_top_k": 5}
    got = face.multiclass_nms(boxes, scores, method=method, **options)
    assert got.count.tolist() == [1]


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_min_score_is_compared_in_double_precision(face, method):
    """0.01 is no float32: the one next to it lies below."""
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]]])
    scores = torch.tensor([[[0.01], [0.010000001]]])
    got = face.multiclass_nms(boxes, scores, score_threshold=0.0, min_score=0.01, method=method)
    assert got.scores[0, :2].tolist() == [scores[0, 1, 0].item(), 0.0]


def test_gaussian_decay_by_hand(face, dtype):
    boxes = torch.tensor([[[0, 0, 2, 1], [0, 0, 1, 1], [5, 5, 6, 6]]], dtype=dtype)
    scores = torch.tensor([[[0.75], [0.5], [0.5]]], dtype=dtype)
    got = face.multiclass_nms(boxes, scores, method="gaussian", sigma=0.25, keep_top_k=3)
    expected = torch.tensor([[0.75, 0.5, 0.5 * math.exp(-1)]], dtype=dtype)
    torch.testing.assert_close(got.scores, expected, **TOLERANCES[dtype])
    assert got.boxes[0, 1].tolist() == [5, 5, 6, 6]
    tiny = face.multiclass_nms(boxes, scores, method="gaussian", sigma=1e-300, keep_top_k=3, min_score=0.0)
    assert tiny.scores.tolist() == [[0.75, 0.5, 0.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(METHODS), st.integers(1, 4))
def test_fewer_are_the_first_of_more(seed, method, classes):
    rng = torch.Generator().manual_seed(seed)
    boxes, scores = inputs(rng, 2, 90, classes)
    more = rx.multiclass_nms(boxes, scores, method=method, top_k=None, keep_top_k=400)
    for keep in (1, 10, 60):
        fewer = rx.multiclass_nms(boxes, scores, method=method, top_k=None, keep_top_k=keep)
        assert fewer.count.tolist() == more.count.clamp(max=keep).tolist()
        for one, other in zip(fewer[:3], more[:3], strict=True):
            assert torch.equal(one, other[:, :keep])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.1, 0.45, 0.7]))
def test_hard_is_batched_nms_of_the_candidates(seed, threshold):
    rng = torch.Generator().manual_seed(seed)
    boxes, scores = inputs(rng, 1, 80, 4)
    got = rx.multiclass_nms(boxes, scores, iou_threshold=threshold, top_k=None, keep_top_k=320)
    label, anchor = (scores[0].t() > 0.01).nonzero().unbind(dim=1)
    kept = rx.batched_nms(boxes[0, anchor], scores[0, anchor, label], label, threshold)
    count = int(got.count)
    assert count == kept.numel()
    assert torch.equal(got.boxes[0, :count], boxes[0, anchor[kept]])
    assert torch.equal(got.labels[0, :count], label[kept] + 1)


@pytest.mark.parametrize("method", METHODS)
def test_classes_and_images_do_not_see_each_other(rng, method):
    boxes, scores = inputs(rng, 3, 60, 4)
    settings = {"method": method, "top_k": None, "keep_top_k": 240}
    together = rx.multiclass_nms(boxes, scores, **settings)
    for b in range(3):
        for c in range(4):
            alone = rx.multiclass_nms(boxes[b : b + 1], scores[b : b + 1, :, c : c + 1], **settings)
            mine = together.labels[b] == c + 1
            assert torch.equal(together.scores[b, mine], alone.scores[0, : int(alone.count)])
            assert torch.equal(together.boxes[b, mine], alone.boxes[0, : int(alone.count)])
