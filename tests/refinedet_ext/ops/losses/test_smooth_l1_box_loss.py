from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import refinedet_ext as rx

from ..cases import TOLERANCES, far_boxes, random_boxes
from ..threads import with_threads

OP = torch.ops.refinedet_ext.smooth_l1_box_loss.default
BACKWARD = torch.ops.refinedet_ext._smooth_l1_box_loss_backward.default
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def inputs(rng, batch, count, boxes=7, *, shared=True, dtype=torch.float32, positives=0.1):
    """Deltas, anchors, ground truths and indices; sides of at least 0.02, so that a rounding stays one."""
    grow = torch.tensor([-0.01, -0.01, 0.01, 0.01])
    deltas = torch.randn(batch, count, 4, generator=rng)
    anchors = random_boxes(*([] if shared else [batch]), count, rng=rng) + grow
    gt = random_boxes(boxes, rng=rng) + grow
    index = torch.randint(max(1, boxes), (batch, count), generator=rng)
    index = torch.where(torch.rand(batch, count, generator=rng) < (positives if boxes else 0), index, -1)
    return deltas.to(dtype), anchors.to(dtype), gt.to(dtype), index


def assert_as_reference(deltas, *args, **kwargs):
    """Forward and backward, with a weight of its own for every image."""
    deltas = deltas.detach().requires_grad_()
    got = rx.smooth_l1_box_loss(deltas, *args, **kwargs)
    expected = rx.reference.smooth_l1_box_loss(deltas, *args, **kwargs)
    assert got.dtype == expected.dtype and got.shape == (len(deltas),)
    # a delta is a difference of coordinates over a side and a variance: its error may be 500 times theirs
    wide = got.dtype == torch.float64
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if wide else {"rtol": 1e-4, "atol": 1e-3}
    torch.testing.assert_close(got, expected, **tolerance, equal_nan=True)
    if deltas.numel():
        weight = torch.arange(1, len(deltas) + 1, dtype=got.dtype) / 3
        mine, theirs = (torch.autograd.grad(result, deltas, weight)[0] for result in (got, expected))
        assert mine.dtype == deltas.dtype and not mine[args[2] < 0].any()
        near = TOLERANCES[deltas.dtype] | ({"atol": 1e-10} if wide else {"atol": 1e-3})
        torch.testing.assert_close(mine, theirs, **near, equal_nan=True)
    return got


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_far_boxes_stay_finite(dtype):
    sides = far_boxes(dtype)
    boxes, anchors = sides.repeat_interleave(len(sides), 0), sides.repeat(len(sides), 1)
    deltas = torch.zeros_like(anchors)[None]
    loss = assert_as_reference(deltas, anchors, boxes, torch.arange(len(boxes))[None])
    assert loss.isfinite().all() and (loss > 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [1, 15, 257, 1500])
def test_agrees_with_reference(rng, dtype, shared, count):
    for positives in (0.02, 0.5, 1.0):
        args = inputs(rng, 3, count, shared=shared, dtype=dtype, positives=positives)
        for kwargs in ({}, {"beta": 0.1}, {"beta": 0.0}, {"variances": (0.5, 1.0, 0.2, 0.3)}):
            assert_as_reference(*args, **kwargs)


def test_is_encode_and_smooth_l1_in_one(rng):
    deltas, anchors, gt, index = inputs(rng, 2, 400, positives=0.3)
    target = rx.encode_boxes(gt[index], anchors)
    each = F.smooth_l1_loss(deltas, target, reduction="none", beta=0.5).sum(-1)
    expected = torch.where(index >= 0, each, 0).sum(1)
    torch.testing.assert_close(rx.smooth_l1_box_loss(deltas, anchors, gt, index, beta=0.5), expected)


def test_perfect_deltas_cost_nothing(rng):
    _, anchors, gt, index = inputs(rng, 2, 50, positives=0.5)
    deltas = rx.encode_boxes(gt[index], anchors).requires_grad_()
    for beta in (0.0, 1.0):
        loss = rx.smooth_l1_box_loss(deltas, anchors, gt, index, beta=beta)
        assert not loss.any() and not torch.autograd.grad(loss.sum(), deltas)[0].any()


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(0, 40),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_any_input(batch, count, boxes, shared, beta, dtype, seed):
    rng = torch.Generator().manual_seed(seed)
    args = inputs(rng, batch, count, boxes, shared=shared, dtype=dtype, positives=0.4)
    assert (assert_as_reference(*args, beta=beta) >= 0).all()


@pytest.mark.parametrize(("batch", "count"), [(0, 5), (3, 0), (0, 0)])
def test_empty(rng, batch, count):
    deltas, *rest = inputs(rng, batch, count, 0)
    deltas.requires_grad_()
    loss = rx.smooth_l1_box_loss(deltas, *rest)
    assert torch.equal(loss, torch.zeros(batch))
    loss.sum().backward()
    assert deltas.grad.shape == (batch, count, 4)


def test_without_positives_the_gradient_is_there_and_zero(rng):
    deltas, *rest = inputs(rng, 2, 30, 0)
    deltas.requires_grad_()
    rx.smooth_l1_box_loss(deltas, *rest).sum().backward()
    assert torch.equal(deltas.grad, torch.zeros_like(deltas))


def test_extremes_stay_finite_and_nan_shows():
    flat = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.0, 0.5, 1.0, 0.5], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    index = torch.arange(4).repeat(4, 1)
    for scale in (0.0, 1e30, -1e30):
        deltas = torch.full((4, 4, 4), scale)
        assert assert_as_reference(deltas, flat, flat, index.t()).isfinite().all()
    deltas = torch.zeros(2, 4, 4)
    deltas[0, 1, 2] = math.nan
    index = torch.tensor([[3, -1, 3, 3], [3, 3, 3, 3]])
    assert assert_as_reference(deltas, flat, flat, index).isfinite().all()  # nobody looks at the NaN
    index[0, 1] = 3
    assert assert_as_reference(deltas, flat, flat, index).isnan().tolist() == [True, False]


def test_non_contiguous_and_mixed_dtypes(rng):
    deltas, anchors, gt, index = inputs(rng, 3, 50, positives=0.4)
    strided = deltas.transpose(1, 2).contiguous().transpose(1, 2)
    got = rx.smooth_l1_box_loss(strided, anchors.t().contiguous().t(), gt, index.t().contiguous().t())
    assert torch.equal(got, rx.smooth_l1_box_loss(deltas, anchors, gt, index))
    assert_as_reference(deltas.bfloat16(), anchors, gt, index)
    wide = assert_as_reference(deltas, anchors, gt.double(), index)
    assert wide.dtype == torch.float64


def test_only_the_deltas_have_a_gradient(rng):
    deltas, anchors, gt, index = inputs(rng, 2, 30, positives=0.4)
    leaves = [t.requires_grad_() for t in (deltas, anchors, gt)]
    rx.smooth_l1_box_loss(*leaves, index).sum().backward()
    assert deltas.grad.any() and anchors.grad is None and gt.grad is None


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_gradcheck(rng, beta):
    deltas, *rest = inputs(rng, 2, 12, dtype=torch.float64, positives=0.5)
    loss = lambda x: rx.smooth_l1_box_loss(x, *rest, beta=beta)  # noqa: E731
    assert torch.autograd.gradcheck(loss, deltas.requires_grad_())
    with pytest.raises(RuntimeError, match="a second derivative is not available"):
        torch.autograd.gradgradcheck(loss, deltas)


@pytest.mark.cpu_only
def test_threads_change_nothing(rng):
    deltas, *rest = inputs(rng, 9, 3000, positives=0.1)

    def run():
        leaf = deltas.clone().requires_grad_()
        loss = rx.smooth_l1_box_loss(leaf, *rest)
        loss.sum().backward()
        return [loss.detach(), leaf.grad]

    first, *others = with_threads(run, 1, 2, 5)
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@pytest.mark.cpu_only
def test_opcheck(rng):
    for shared in (True, False):
        deltas, *rest = inputs(rng, 2, 20, shared=shared, positives=0.4)
        torch.library.opcheck(OP, (deltas.clone().requires_grad_(), *rest, [0.1, 0.1, 0.2, 0.2], 1.0))
        torch.library.opcheck(BACKWARD, (torch.ones(2), deltas, *rest, [0.1, 0.1, 0.2, 0.2], 1.0))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, deltas, anchors, gt, index):
            return rx.smooth_l1_box_loss(deltas, anchors, gt, index, beta=0.5)

    deltas, *rest = inputs(rng, 2, 20, positives=0.4)
    grads = []
    for module in (torch.compile(Module(), fullgraph=True, backend="aot_eager"), Module()):
        leaf = deltas.clone().requires_grad_()
        module(leaf, *rest).sum().backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), (deltas, *rest), dynamic_shapes=({0: batch}, None, None, {0: batch}))
    more = inputs(rng, 5, 20, positives=0.4)
    assert torch.equal(program.module()(*more), Module()(*more))


def test_autocast_computes_in_float32(rng):
    deltas, *rest = inputs(rng, 2, 40, positives=0.4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rx.smooth_l1_box_loss(deltas, *rest), rx.smooth_l1_box_loss(deltas, *rest))
        assert rx.smooth_l1_box_loss(deltas.bfloat16(), *rest).dtype == torch.float32


INDEX = torch.zeros(2, 7, dtype=torch.int64)
GOOD = {
    "deltas": torch.zeros(2, 7, 4),
    "anchors": torch.zeros(7, 4),
    "gt_boxes": torch.zeros(3, 4),
    "gt_index": INDEX,
}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"deltas": torch.zeros(7, 4)}, ValueError, r"deltas: expected shape \(B, A, 4\), got \(7, 4\)"),
        ({"deltas": INDEX}, TypeError, "deltas: expected dtype float16.*got .*int64"),
        ({"anchors": torch.zeros(6, 4)}, ValueError, r"anchors: expected shape \(A, 4\) with A = 7, got \(6, 4\)"),
        ({"anchors": torch.zeros(1, 7, 4)}, ValueError, r"anchors: expected shape \(B, A, 4\) with .*got \(1, 7, 4\)"),
        ({"gt_boxes": torch.zeros(3, 5)}, ValueError, r"gt_boxes: expected shape \(G, 4\), got \(3, 5\)"),
        ({"gt_index": INDEX[:1]}, ValueError, r"gt_index: expected shape \(B, A\) with B = 2, A = 7, got \(1, 7\)"),
        ({"gt_index": INDEX.int()}, TypeError, "gt_index: expected dtype int64, got int32"),
        ({"gt_index": INDEX + 3}, RuntimeError, "gt_index: expected values below 3, got 3"),
        ({"variances": (1.0, 1.0)}, ValueError, "variances: expected 4 values"),
        ({"beta": -1.0}, ValueError, "beta: expected a number in .*got -1.0"),
        ({"beta": math.inf}, ValueError, "beta: expected a finite number, got inf"),
        ({"gt_boxes": torch.zeros(3, 4, device="meta")}, ValueError, "gt_boxes: expected device cpu as deltas has"),
    ],
)
@pytest.mark.cpu_only
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        rx.smooth_l1_box_loss(**GOOD | kwargs)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(7, 4), r"deltas: expected shape \(B, A, 4\), got \(7, 4\)"),
        (1, torch.zeros(4), r"anchors: expected shape \(7, 4\) or \(2, 7, 4\), got \(4\)"),
        (1, torch.zeros(7, 4).double(), "anchors: expected dtype Float, got Double"),
        (2, torch.zeros(3, 4).double(), "gt_boxes: expected dtype Float, got Double"),
        (2, torch.zeros(3, 2), r"gt_boxes: expected shape \(G, 4\), got \(3, 2\)"),
        (3, INDEX.t(), r"gt_index: expected shape \(2, 7\) as deltas has, got \(7, 2\)"),
        (4, [0.1], "variances: expected 4"),
        (5, -1.0, "beta: expected a finite number of at least 0, got -1"),
    ],
)
def test_op_itself_checks(position, value, message):
    arguments = [*GOOD.values(), [0.1, 0.1, 0.2, 0.2], 1.0]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        OP(*arguments)
    with pytest.raises(RuntimeError, match=message):
        BACKWARD(torch.ones(2), *arguments)
