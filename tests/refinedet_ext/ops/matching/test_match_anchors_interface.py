"""`match_anchors` as an op and as a function: autograd, compilation, autocast, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from ..cases import random_boxes
from .test_match_anchors import assert_same, ground_truth

OP = torch.ops.refinedet_ext.match_anchors.default


def test_not_differentiable(rng):
    anchors = random_boxes(7, rng=rng).requires_grad_()
    truth = ground_truth([2, 1], rng=rng)
    for result in (rx.match_anchors(anchors, *truth), OP(anchors, *truth, None, 0.5, 0.5, 0.5, "none")):
        assert not any(x.requires_grad for x in result)


@pytest.mark.cpu_only
def test_opcheck(rng):
    boxes, labels, offsets = ground_truth([2, 0, 3], rng=rng)
    for anchors in (random_boxes(9, rng=rng), random_boxes(3, 9, rng=rng).requires_grad_()):
        for ignore in (None, torch.arange(5) == 1):
            torch.library.opcheck(OP, (anchors, boxes, labels, offsets, ignore, 0.5, 0.4, 0.5, "bipartite"))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, anchors, boxes, labels, offsets):
            return tuple(rx.match_anchors(anchors, boxes, labels, offsets, positive_iou=0.6))

    inputs = (random_boxes(2, 8, rng=rng), *ground_truth([2, 3], rng=rng))
    expected = Module()(*inputs)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")(*inputs)
    assert_same(rx.Matches(*compiled), expected)
    batch, objects = torch.export.Dim("batch"), torch.export.Dim("objects")
    program = torch.export.export(
        Module(), inputs, dynamic_shapes=({0: batch}, {0: objects}, {0: objects}, {0: batch + 1})
    )
    more = (random_boxes(4, 8, rng=rng), *ground_truth([1, 0, 5, 2], rng=rng))
    assert_same(rx.Matches(*program.module()(*more)), Module()(*more))


def test_autocast_computes_in_float32(rng):
    anchors, truth = random_boxes(2, 50, rng=rng), ground_truth([4, 3], rng=rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(rx.match_anchors(anchors, *truth), rx.reference.match_anchors(anchors, *truth))


GOOD = {
    "anchors": torch.zeros(7, 4),
    "gt_boxes": torch.zeros(3, 4),
    "gt_labels": torch.ones(3, dtype=torch.int64),
    "gt_offsets": torch.tensor([0, 1, 3]),
}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"anchors": torch.zeros(7, 5)}, ValueError, r"anchors: expected shape \(A, 4\), or .* B = 2 .*got \(7, 5\)"),
        ({"anchors": torch.zeros(3, 7, 4)}, ValueError, r"anchors: .* B = 2 as gt_offsets says, got \(3, 7, 4\)"),
        ({"anchors": torch.zeros(4)}, ValueError, r"anchors: .*got \(4,\)"),
        ({"anchors": torch.zeros(7, 4, dtype=torch.int64)}, TypeError, "anchors: expected dtype float16.*int64"),
        ({"gt_boxes": torch.zeros(3, 4, dtype=torch.int32)}, TypeError, "gt_boxes: expected dtype float16.*int32"),
        ({"gt_boxes": torch.zeros(3, 3)}, ValueError, r"gt_boxes: expected shape \(G, 4\).*got \(3, 3\)"),
        ({"gt_labels": torch.ones(2).long()}, ValueError, r"gt_labels: expected shape \(G,\) with G = 3, got \(2,\)"),
        ({"gt_labels": torch.ones(3)}, TypeError, "gt_labels: expected dtype int64, got float32"),
        ({"gt_offsets": torch.zeros(2, 2).long()}, ValueError, r"gt_offsets: expected shape \(B\+1,\).*got \(2, 2\)"),
        ({"gt_offsets": torch.zeros(0).long()}, ValueError, r"gt_offsets: .* at least one offset, got \(0,\)"),
        ({"gt_offsets": torch.tensor([0, 1, 3]).int()}, TypeError, "gt_offsets: expected dtype int64, got int32"),
        ({"gt_ignore": torch.zeros(4) > 0}, ValueError, r"gt_ignore: expected shape \(G,\) with G = 3, got \(4,\)"),
        ({"gt_ignore": torch.zeros(3)}, TypeError, "gt_ignore: expected dtype bool, got float32"),
        ({"positive_iou": 1.5}, ValueError, r"positive_iou: expected a number in \[0, 1\], got 1.5"),
        ({"negative_iou": math.nan}, ValueError, r"negative_iou: expected a number in \[0, 1\], got nan"),
        ({"ignore_iof": 0}, ValueError, r"ignore_iof: expected a number in \(0, 1\], got 0"),
        ({"force_match": "hungarian"}, ValueError, "force_match: expected one of 'bipartite', .*got 'hungarian'"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    with pytest.raises(error, match=message):
        face.match_anchors(**GOOD | kwargs)


@pytest.mark.cpu_only  # a GPU would have to wait for the values; tests/cuda_on_host looks at what its kernel checks
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gt_offsets": torch.tensor([1, 1, 3])}, "gt_offsets: expected to start at 0, got 1"),
        ({"gt_offsets": torch.tensor([0, 4, 3])}, "gt_offsets: expected never to fall, got 4 and then 3 at position 2"),
        ({"gt_offsets": torch.tensor([0, 1, 2])}, "gt_offsets: expected to end at 3, the number of rows .*got 2"),
        ({"gt_labels": torch.tensor([1, 2, 0])}, "gt_labels: expected classes from 1 on, got 0 in row 2"),
    ],
)
def test_bad_data(face, kwargs, message):
    with pytest.raises(RuntimeError if face.name == "torch" else ValueError, match=rf"\A{message}"):
        face.match_anchors(**GOOD | kwargs)


@pytest.mark.cpu_only
def test_numpy_takes_lists():
    got = rxn.match_anchors([[0.0, 0.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 1.0]], [2], [0, 1], gt_ignore=[False])
    assert got.labels.tolist() == [[2]]
    with pytest.raises(TypeError, match="gt_labels: expected dtype int64, got float64"):
        rxn.match_anchors([[0.0, 0.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 1.0]], [2.5], [0, 1])


def test_bad_device():
    with pytest.raises(ValueError, match="gt_labels: expected device cpu as anchors has, got meta"):
        rx.match_anchors(**GOOD | {"gt_labels": torch.ones(3, dtype=torch.int64, device="meta")})


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(3, 7, 4), r"anchors: expected shape \(A, 4\) or \(2, A, 4\), got \(3, 7, 4\)"),
        (1, torch.zeros(1, 3, 4), r"gt_boxes: expected shape \(G, 4\), got \(1, 3, 4\)"),
        (2, torch.ones(2, dtype=torch.int64), r"gt_labels: expected shape \(3,\), got \(2\)"),
        (3, torch.zeros(0, dtype=torch.int64), r"gt_offsets: expected shape \(B\+1,\), got \(0\)"),
        (4, torch.zeros(3), "gt_ignore: expected dtype Bool, got Float"),
        (5, -0.5, "positive_iou: expected a number from 0 to 1, got -0.5"),
        (7, 0.0, "ignore_iof: expected a number above 0, got 0"),
        (8, "all", "force_match: expected bipartite, argmax or none, got all"),
    ],
)
def test_op_itself_checks(position, value, message):
    arguments = [*GOOD.values(), None, 0.5, 0.5, 0.5, "none"]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        OP(*arguments)
