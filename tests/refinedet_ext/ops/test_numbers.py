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


@pytest.mark.cpu_only
@pytest.mark.parametrize("name", ["decode_boxes", "encode_boxes", "decode_cascade"])
def test_without_gradients_the_twin_that_autograd_passes_by(name, rng):
    """The same result as the differentiable op, which is the one that autograd sees."""
    count = 3 if name == "decode_cascade" else 2
    tensors = [torch.rand(2, 5, 4, generator=rng) for _ in range(count - 1)] + [torch.rand(5, 4, generator=rng)]
    op, twin = (
        getattr(torch.ops.refinedet_ext, name).default,
        getattr(torch.ops.refinedet_ext, f"_{name}_forward").default,
    )
    torch.library.opcheck(twin, tensors)
    assert torch.equal(op(*tensors), twin(*tensors))
    tensors[0].requires_grad_()
    assert op(*tensors).requires_grad and not twin(*tensors).requires_grad
    function = getattr(rx, name)
    assert function(*tensors).requires_grad
    with torch.no_grad():
        assert not function(*tensors).requires_grad
    assert torch.equal(function(*tensors), twin(*tensors))
