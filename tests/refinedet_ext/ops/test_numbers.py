"""Settings may be real numbers of any kind, as those of NumPy; neither bool nor tensor is one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import refinedet_ext as rx

BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
SCORES, GROUPS = torch.tensor([0.5, 0.9, 0.7]), torch.zeros(3, dtype=torch.int64)
LOGITS, DELTAS = torch.zeros(1, 3, 2), torch.zeros(1, 3, 4)
TWO_SETTINGS = {"score_threshold": 0.25, "iou_threshold": 0.25, "sigma": 0.75, "min_score": 0.125}
COUNTS = {"top_k_per_class": 2, "top_k": 2, "keep_top_k": 2}

CALLS: dict[str, tuple[tuple[Any, ...], dict[str, float], dict[str, int]]] = {
    "nms": ((BOXES, SCORES), {"iou_threshold": 0.5}, {}),
    "batched_nms": ((BOXES, SCORES, GROUPS), {"iou_threshold": 0.5}, {}),
    "batched_nms_padded": ((BOXES, SCORES, GROUPS), {"iou_threshold": 0.5}, {}),
    "multiclass_nms": ((BOXES[None], SCORES[None, :, None]), TWO_SETTINGS, COUNTS),
    "detect": ((LOGITS, DELTAS, DELTAS, DELTAS, BOXES), TWO_SETTINGS | {"theta": 0.75}, COUNTS),
    "filter_anchors": ((LOGITS,), {"theta": 0.75}, {}),
    "filter_anchors_mask": ((LOGITS,), {"theta": 0.75}, {}),
    "mine_hard_negatives": ((SCORES[None], GROUPS[None]), {"ratio": 2.5}, {"min_negatives": 2}),
    "match_anchors": (
        (BOXES, BOXES[:1], torch.tensor([1]), torch.tensor([0, 1])),
        {"positive_iou": 0.5, "negative_iou": 0.25, "ignore_iof": 0.75},
        {},
    ),
}
NOT_IN_NUMPY = ("batched_nms_padded", "mine_hard_negatives")


@pytest.fixture(params=CALLS)
def call(request, face) -> tuple[Any, tuple[Any, ...], dict[str, float], dict[str, int]]:
    if face.name == "numpy" and request.param in NOT_IN_NUMPY:
        pytest.skip("not on the NumPy face")
    return getattr(face, request.param), *CALLS[request.param]


def same(got: Any, expected: Any) -> bool:
    if isinstance(expected, tuple):
        return all(map(same, got, expected))
    return torch.equal(got, expected)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, Fraction])
def test_real_numbers(call, kind):
    function, tensors, numbers, counts = call
    expected = function(*tensors, **numbers, **counts)
    whole = int if kind is Fraction else np.int64
    for given in (
        {k: kind(v) for k, v in numbers.items()} | counts,
        numbers | {k: whole(v) for k, v in counts.items()},
        {k: kind(v) for k, v in numbers.items()} | {k: whole(v) for k, v in counts.items()},
    ):
        assert same(function(*tensors, **given), expected)


def test_whole_numbers_as_thresholds(call):
    function, tensors, numbers, counts = call
    if "sigma" in numbers:
        numbers = {"iou_threshold": 0.25}
    one = dict.fromkeys(numbers, 1)
    assert same(function(*tensors, **one, **counts), function(*tensors, **dict.fromkeys(one, 1.0), **counts))


@pytest.mark.parametrize("wrong", [True, torch.tensor(0.5), "0.5", 0.5j, np.ones(1)], ids=lambda w: type(w).__name__)
def test_what_is_no_number(call, wrong):
    function, tensors, numbers, counts = call
    for name in numbers:
        with pytest.raises(TypeError, match=f"{name}: expected a number, got "):
            function(*tensors, **(numbers | counts | {name: wrong}))


@pytest.mark.parametrize("wrong", [True, 2.0, torch.tensor(2), np.float32(2)], ids=lambda w: type(w).__name__)
def test_what_is_no_count(call, wrong):
    function, tensors, numbers, counts = call
    for name in counts:
        with pytest.raises(TypeError, match=f"{name}: expected an int, got "):
            function(*tensors, **(numbers | counts | {name: wrong}))


DECODE = {"deltas": torch.zeros(3, 4), "anchors": BOXES}


@pytest.mark.parametrize("kind", [np.float32, np.float64, Fraction])
def test_variances_and_sizes_of_any_kind(face, kind):
    variances, size = (0.125, 0.25, 0.5, 0.25), (2.0, 8.0)
    expected = face.decode_boxes(**DECODE, variances=variances, clip_to=size)
    for container in (tuple, list):
        got = face.decode_boxes(**DECODE, variances=container(map(kind, variances)), clip_to=container(map(kind, size)))
        assert torch.equal(got, expected)
    assert torch.equal(face.decode_boxes(**DECODE, variances=np.array(variances), clip_to=np.array(size)), expected)


CODERS = {
    "decode_boxes": (BOXES, BOXES),
    "encode_boxes": (BOXES, BOXES),
    "decode_cascade": (DELTAS, DELTAS, BOXES),
    "detect": (LOGITS, DELTAS, DELTAS, DELTAS, BOXES),
    "smooth_l1_box_loss": (DELTAS, BOXES, BOXES, GROUPS[None]),
}


@pytest.mark.parametrize("name", CODERS)
@pytest.mark.parametrize(
    ("variances", "error", "message"),
    [
        (0.1, TypeError, r"variances: expected 4 values \(center x, center y, width, height\), got 0.1"),
        (None, TypeError, "variances: expected 4 values .*, got None"),
        ("0.1", TypeError, "variances: expected 4 values .*, got '0.1'"),
        ((0.1, 0.1), ValueError, "variances: expected 4 values .*, got 2"),
        ((0.1, 0.1, 0.2, True), TypeError, "variances: expected a number, got bool"),
        ((0.1, 0.1, 0.2, "0.2"), TypeError, "variances: expected a number, got str"),
        ((0.1, 0.1, 0.2, 0.0), ValueError, "variances: expected positive finite values"),
        ((0.1, 0.1, 0.2, float("nan")), ValueError, "variances: expected positive finite values"),
    ],
)
def test_wrong_variances(face, name, variances, error, message):
    if face.name == "numpy" and name == "smooth_l1_box_loss":
        pytest.skip("not on the NumPy face")
    with pytest.raises(error, match=message):
        getattr(face, name)(*CODERS[name], variances=variances)


@pytest.mark.parametrize("name", ["decode_boxes", "detect"])
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (5, TypeError, r"clip_to: expected \(width, height\), got 5"),
        ((5, 5, 5), ValueError, r"clip_to: expected \(width, height\), got 3 values"),
        ((5, True), TypeError, "clip_to: expected a number, got bool"),
        ((5, -1), ValueError, "clip_to: expected finite sizes of at least 0"),
    ],
)
def test_wrong_sizes_to_clip_to(face, name, size, error, message):
    with pytest.raises(error, match=message):
        getattr(face, name)(*CODERS[name], clip_to=size)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
def test_whole_numbers_of_deform_align(kind, name, rng):
    image, weight = torch.randn(1, 2, 7, 7, generator=rng), torch.randn(3, 2, 2, 2, generator=rng)
    for value in (2, (1, 2)):
        given = kind(value) if isinstance(value, int) else tuple(map(kind, value))
        expected = rx.deform_align(image, None, weight, **{name: value})
        assert torch.equal(rx.deform_align(image, None, weight, **{name: given}), expected)
        as_list = [*map(kind, np.broadcast_to(value, 2))]
        assert torch.equal(rx.deform_align(image, None, weight, **{name: as_list}), expected)
    for wrong in (True, (1, True), 1.0, np.float32(1)):
        with pytest.raises(TypeError, match=f"{name}: expected an int"):
            rx.deform_align(image, None, weight, **{name: wrong})


def test_beta_of_the_box_loss():
    arguments = CODERS["smooth_l1_box_loss"]
    expected = rx.smooth_l1_box_loss(*arguments, beta=2.0)
    for kind in (int, np.float32, np.int64, Fraction):
        assert torch.equal(rx.smooth_l1_box_loss(*arguments, beta=kind(2)), expected)
    with pytest.raises(TypeError, match="beta: expected a number, got bool"):
        rx.smooth_l1_box_loss(*arguments, beta=True)
    with pytest.raises(ValueError, match="beta: expected a finite number, got inf"):
        rx.smooth_l1_box_loss(*arguments, beta=float("inf"))


def test_numbers_of_the_mined_loss():
    logits, labels = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([[1, 0, 0]])
    expected = rx.mined_cross_entropy(logits, labels, ratio=2.0, min_negatives=2)
    assert same(rx.mined_cross_entropy(logits, labels, ratio=np.float32(2), min_negatives=np.int64(2)), expected)
    with pytest.raises(TypeError, match="ratio: expected a number, got bool"):
        rx.mined_cross_entropy(logits, labels, ratio=True)
    with pytest.raises(TypeError, match="min_negatives: expected an int, got bool"):
        rx.mined_cross_entropy(logits, labels, min_negatives=True)
