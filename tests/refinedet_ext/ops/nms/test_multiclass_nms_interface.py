"""`multiclass_nms` as an op and as a function: layouts, threads, autograd, compilation, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from ..cases import clustered_boxes
from .test_multiclass_nms import METHODS, check, inputs

OP = torch.ops.refinedet_ext.multiclass_nms.default
DEFAULTS = (0.01, 0.45, None, 400, 200, "hard", 0.5, 0.001)


@pytest.mark.parametrize("layout", ["behind background", "before another", "class-major", "every other"])
def test_layouts_of_scores(face, dtype, rng, layout):
    boxes, scores = inputs(rng, 3, 67, 5, dtype=dtype)
    high = torch.full((3, 67, 1), 0.99, dtype=dtype)  # would win if it were read
    if layout == "behind background":
        view = torch.cat([high, scores], dim=2)[..., 1:]
    elif layout == "before another":
        view = torch.cat([scores, high, high], dim=2)[..., :5]
    elif layout == "class-major":
        view = scores.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    else:
        view = torch.stack([scores, high.expand(-1, -1, 5)], dim=3)[..., 0]
    assert not view.is_contiguous() and torch.equal(view, scores)
    check(face.multiclass_nms(boxes, view), face.multiclass_nms(boxes, scores), exact=True)


def test_layouts_of_boxes(face, rng):
    boxes, scores = inputs(rng, 1, 50, 4)
    shared, many = boxes.expand(3, -1, -1), scores.repeat(3, 1, 1)
    expected = face.multiclass_nms(shared.contiguous(), many)
    check(face.multiclass_nms(shared, many), expected, exact=True)
    check(face.multiclass_nms(shared.transpose(1, 2).contiguous().transpose(1, 2), many), expected, exact=True)
    check(face.multiclass_nms(shared, scores.expand(3, -1, -1)), expected, exact=True)


@pytest.mark.cpu_only
@pytest.mark.parametrize("method", METHODS)
def test_threads_give_the_same(face, rng, method):
    """Classes dealt out to the threads; with one class of 6,000 boxes the threads share its kept ones."""
    before = torch.get_num_threads(), rxn.get_num_threads()
    many_classes = inputs(rng, 2, 1000, 20)
    one_class = clustered_boxes(6000, 3000, rng=rng)[None], torch.rand(1, 6000, 1, generator=rng)
    results = []
    try:
        for workers in (1, 2, 5):
            torch.set_num_threads(workers)
            rxn.set_num_threads(workers)
            results.append(face.multiclass_nms(*many_classes, top_k=None, keep_top_k=300, method=method))
            if method == "hard":
                results[-1] += face.multiclass_nms(*one_class, top_k=None, keep_top_k=3000, method=method)
    finally:
        torch.set_num_threads(before[0])
        rxn.set_num_threads(before[1])
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert torch.equal(one, other)


@pytest.mark.cpu_only
def test_opcheck(rng):
    for dtype in (torch.float32, torch.float16):
        boxes, scores = inputs(rng, 2, 30, 3, dtype=dtype)
        torch.library.opcheck(OP, (boxes.requires_grad_(), scores, *DEFAULTS))
    torch.library.opcheck(OP, (boxes, scores, 0.1, 0.5, 10, None, 20, "gaussian", 0.5, 0.01))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, boxes, scores):
            return tuple(rx.multiclass_nms(boxes, scores.softmax(dim=-1)[..., 1:], keep_top_k=20))

    arguments, more = inputs(rng, 2, 30, 4), inputs(rng, 5, 30, 4)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")
    batch = torch.export.Dim("batch")
    exported = torch.export.export(Module(), arguments, dynamic_shapes=({0: batch}, {0: batch})).module()
    for inputs_ in (arguments, more):
        for run in (compiled, exported):
            for got, expected in zip(run(*inputs_), Module()(*inputs_), strict=True):
                assert torch.equal(got, expected)


def test_not_differentiable(rng):
    boxes, scores = inputs(rng, 1, 10, 2)
    for result in (
        rx.multiclass_nms(boxes.requires_grad_(), scores.requires_grad_()),
        OP(boxes, scores, *DEFAULTS),
    ):
        assert not any(x.requires_grad for x in result)


def test_autocast_leaves_the_dtypes(rng):
    boxes, scores = inputs(rng, 1, 10, 2, score_dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = rx.multiclass_nms(boxes, scores)
    assert (got.boxes.dtype, got.scores.dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"boxes": torch.zeros(3, 4)}, ValueError, r"boxes: expected shape \(B, A, 4\), got \(3, 4\)"),
        ({"boxes": torch.zeros(2, 3, 4).int()}, TypeError, "boxes: expected dtype float16.*got .*int32"),
        (
            {"scores": torch.zeros(2, 4, 5)},
            ValueError,
            r"scores: expected shape \(B, A, C\) with .*A = 3.*got \(2, 4, 5\)",
        ),
        ({"scores": torch.zeros(2, 3)}, ValueError, r"scores: expected shape \(B, A, C\), got \(2, 3\)"),
        ({"scores": torch.zeros(2, 3, 5).int()}, TypeError, "scores: expected dtype float16.*got .*int32"),
        ({"score_threshold": math.nan}, ValueError, "score_threshold: expected a number .*got nan"),
        ({"iou_threshold": 45}, ValueError, r"iou_threshold: expected a number in \[0.0, 1.0\], got 45"),
        ({"top_k": 0}, ValueError, "top_k: expected at least 1, got 0"),
        ({"top_k_per_class": -1}, ValueError, "top_k_per_class: expected at least 1, got -1"),
        ({"keep_top_k": -1}, ValueError, "keep_top_k: expected at least 0, got -1"),
        ({"keep_top_k": None}, TypeError, "keep_top_k: expected an int, got NoneType"),
        ({"method": "soft"}, ValueError, "method: expected one of 'hard', 'linear', 'gaussian', got 'soft'"),
        ({"sigma": 0.0}, ValueError, r"sigma: expected a number in \(0.0, inf\], got 0.0"),
        ({"min_score": -0.1}, ValueError, r"min_score: expected a number in \[0.0, inf\], got -0.1"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    arguments = {"boxes": torch.zeros(2, 3, 4), "scores": torch.zeros(2, 3, 5)} | kwargs
    with pytest.raises(error, match=message):
        face.multiclass_nms(**arguments)


def test_bad_device():
    with pytest.raises(ValueError, match="scores: expected device cpu as boxes has, got meta"):
        rx.multiclass_nms(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5, device="meta"))


def test_op_itself_checks():
    boxes, scores = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)
    with pytest.raises(RuntimeError, match=r"scores: expected shape \(2, 3, C\), got \(2, 4, 5\)"):
        OP(boxes, torch.zeros(2, 4, 5), *DEFAULTS)
    for index, value, message in [
        (2, 0, "top_k_per_class: expected at least 1, got 0"),
        (3, -1, "top_k: expected at least 1, got -1"),
        (4, -1, "keep_top_k: expected at least 0, got -1"),
        (5, "soft", "method: expected hard, linear or gaussian, got soft"),
        (6, 0.0, "sigma: expected a positive number, got 0"),
        (7, -1.0, "min_score: expected at least 0, got -1"),
    ]:
        settings = [*DEFAULTS]
        settings[index] = value
        with pytest.raises(RuntimeError, match=message):
            OP(boxes, scores, *settings)
