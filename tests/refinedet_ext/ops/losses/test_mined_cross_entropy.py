from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..cases import TOLERANCES
from ..threads import with_threads

OP = torch.ops.refinedet_ext.mined_cross_entropy.default
BACKWARD = torch.ops.refinedet_ext._mined_cross_entropy_backward.default
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def inputs(rng, batch, count, classes, *, dtype=torch.float32, positives=0.1):
    """Logits that favour the background, and labels with some positives and ignored anchors."""
    logits = torch.randn(batch, count, classes, generator=rng, dtype=torch.float64) * 2
    logits[..., 0] += 3
    draw = torch.rand(batch, count, generator=rng)
    classes_of = torch.randint(min(1, classes - 1), classes, (batch, count), generator=rng)
    return logits.to(dtype), torch.where(draw < positives, classes_of, torch.where(draw > 0.9, -1, 0))


def assert_as_reference(logits, labels, **kwargs):
    """Forward and backward, with a weight of its own for every image."""
    logits = logits.detach().requires_grad_()
    got = rx.mined_cross_entropy(logits, labels, **kwargs)
    expected = rx.reference.mined_cross_entropy(logits, labels, **kwargs)
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    assert got.loss.dtype == dtype and got.loss.shape == (len(labels),)
    for name in ("chosen", "positives", "negatives"):
        a, b = getattr(got, name), getattr(expected, name)
        assert a.dtype == b.dtype and torch.equal(a, b), name
    torch.testing.assert_close(got.loss, expected.loss, **TOLERANCES[dtype], equal_nan=True)
    if logits.numel():
        weight = torch.arange(1, len(labels) + 1, dtype=dtype) / 3
        mine, theirs = (torch.autograd.grad(result.loss, logits, weight)[0] for result in (got, expected))
        torch.testing.assert_close(mine, theirs, **TOLERANCES[logits.dtype], equal_nan=True)
        assert not mine[~got.chosen].any()
    return got


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize(("count", "classes"), [(1, 2), (15, 21), (17, 1), (300, 5), (1100, 81)])
@pytest.mark.parametrize("filtered", [False, True])
def test_agrees_with_reference(rng, dtype, count, classes, filtered):
    logits, labels = inputs(rng, 3, count, classes, dtype=dtype)
    if classes == 1:
        labels = labels.clamp(max=0)
    eligible = torch.rand(3, count, generator=rng) < 0.2 if filtered else None
    for kwargs in ({}, {"ratio": 1.7}, {"ratio": 0, "min_negatives": 4}, {"min_negatives": 100}):
        assert_as_reference(logits, labels, eligible=eligible, **kwargs)


def test_is_mining_and_cross_entropy_in_one(rng):
    logits, labels = inputs(rng, 4, 500, 21)
    losses = torch.nn.functional.cross_entropy(logits.mT, labels.clamp(min=0), reduction="none")
    mined = rx.mined_cross_entropy(logits, labels, ratio=2.0, min_negatives=9)
    negatives = rx.mine_hard_negatives(losses, labels, ratio=2.0, min_negatives=9)
    assert torch.equal(mined.chosen, negatives | (labels > 0))
    assert torch.equal(mined.negatives, negatives.sum(1)) and torch.equal(mined.positives, (labels > 0).sum(1))
    torch.testing.assert_close(mined.loss, torch.where(mined.chosen, losses, 0).sum(1), rtol=1e-5, atol=1e-5)


def test_targets_are_measured_against_labels_choose(rng):
    logits, labels = inputs(rng, 2, 200, 5)
    targets = torch.randint(-1, 5, labels.shape, generator=rng)
    assert_as_reference(logits, labels.clamp(max=1), targets=targets)
    assert_as_reference(logits, 7 * labels, targets=labels)  # labels may then be any number


def test_extreme_logits(rng):
    logits, labels = inputs(rng, 2, 60, 5, positives=0.3)
    for scale in (1e30, 3e38, 1e-30):
        got = assert_as_reference(logits.sign() * scale, labels)
        assert got.loss.isfinite().all() or scale == 3e38  # a difference of two largest numbers is infinite
    logits[..., 2] = -math.inf  # a class of probability 0 ...
    labels[labels == 2] = 1
    assert assert_as_reference(logits, labels).loss.isfinite().all()
    labels[:, 0] = 2  # ... that is the target
    assert assert_as_reference(logits, labels).loss.isposinf().all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_and_infinity_count_only_where_they_are_chosen(value):
    logits = torch.zeros(3, 4, 3)
    logits[:, 1, 1] = value
    labels = torch.tensor([[1, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    got = assert_as_reference(logits, labels, ratio=1.0)
    assert got.loss[0].isfinite() and got.loss[1].isnan() and got.loss[2] == 0
    assert got.chosen.tolist() == [[True, False, True, False], [True, True, False, False], [False] * 4]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(0, 40),
    st.integers(2, 4),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(DTYPES),
    st.integers(0, 2**31),
)
def test_any_input(batch, count, classes, ratio, min_negatives, filtered, dtype, seed):
    rng = torch.Generator().manual_seed(seed)
    logits, labels = inputs(rng, batch, count, classes, dtype=dtype, positives=0.2)
    eligible = torch.rand(batch, count, generator=rng) < 0.5 if filtered else None
    got = assert_as_reference(logits, labels, ratio=ratio, min_negatives=min_negatives, eligible=eligible)
    assert torch.equal(got.chosen.sum(1), got.positives + got.negatives)
    assert (got.loss >= 0).all()


@pytest.mark.parametrize("shape", [(0, 5, 3), (3, 0, 3), (0, 0, 1)])
def test_empty(shape):
    logits = torch.zeros(shape, requires_grad=True)
    got = rx.mined_cross_entropy(logits, torch.zeros(shape[:2], dtype=torch.int64), min_negatives=3)
    assert torch.equal(got.loss, torch.zeros(shape[0])) and got.chosen.shape == shape[:2]
    assert not got.positives.any() and not got.negatives.any()
    got.loss.sum().backward()
    assert logits.grad.shape == shape


def test_without_positives_the_gradient_is_there_and_zero(rng):
    logits = torch.randn(2, 30, 4, generator=rng, requires_grad=True)
    got = rx.mined_cross_entropy(logits, torch.zeros(2, 30, dtype=torch.int64))
    assert not got.loss.any() and not got.chosen.any()
    got.loss.sum().backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_non_contiguous(rng):
    logits, labels = inputs(rng, 3, 50, 4)
    strided = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    other = labels.t().contiguous().t()
    assert not strided.is_contiguous() and not other.is_contiguous()
    got = assert_as_reference(strided, other)
    assert torch.equal(got.loss, rx.mined_cross_entropy(logits, labels).loss)


def test_gradcheck(rng):
    logits, labels = inputs(rng, 2, 12, 4, dtype=torch.float64, positives=0.3)
    # the negatives are few and far apart enough in loss for small steps not to change the choice
    assert torch.autograd.gradcheck(lambda x: rx.mined_cross_entropy(x, labels).loss, logits.requires_grad_())
    with pytest.raises(RuntimeError, match="a second derivative is not available"):
        torch.autograd.gradgradcheck(lambda x: rx.mined_cross_entropy(x, labels).loss, logits)


@pytest.mark.cpu_only
def test_threads_change_nothing(rng):
    logits, labels = inputs(rng, 5, 3000, 21)

    def run():
        leaf = logits.clone().requires_grad_()
        got = rx.mined_cross_entropy(leaf, labels)
        got.loss.sum().backward()
        return [*got, leaf.grad]

    first, *others = with_threads(run, 1, 2, 5)
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@pytest.mark.cpu_only
def test_opcheck(rng):
    logits, labels = inputs(rng, 2, 20, 3, positives=0.2)
    for targets in (None, labels.clamp(min=0)):
        for eligible in (None, labels > -1):
            torch.library.opcheck(OP, (logits.clone().requires_grad_(), labels, targets, eligible, 3.0, 1))
    torch.library.opcheck(BACKWARD, (torch.ones(2), logits, labels, labels > 0))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, logits, labels):
            return rx.mined_cross_entropy(logits, labels, ratio=2.0, min_negatives=1).loss

    logits, labels = inputs(rng, 2, 20, 3, positives=0.2)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")
    grads = []
    for module in (compiled, Module()):
        leaf = logits.clone().requires_grad_()
        module(leaf, labels).sum().backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), (logits, labels), dynamic_shapes=({0: batch}, {0: batch}))
    more = inputs(rng, 5, 20, 3, positives=0.2)
    assert torch.equal(program.module()(*more), Module()(*more))


def test_autocast_leaves_half_logits_as_they_are(rng):
    logits, labels = inputs(rng, 2, 40, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = rx.mined_cross_entropy(logits.requires_grad_(), labels)
    assert got.loss.dtype == torch.float32 and torch.equal(got.loss, rx.mined_cross_entropy(logits, labels).loss)
    assert torch.autograd.grad(got.loss.sum(), logits)[0].dtype == torch.bfloat16


LABELS = torch.zeros(2, 7, dtype=torch.int64)
GOOD = {"logits": torch.zeros(2, 7, 3), "labels": LABELS}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"logits": torch.zeros(7, 3)}, ValueError, r"logits: expected shape \(B, A, C\), got \(7, 3\)"),
        ({"logits": torch.zeros(2, 7, 0)}, ValueError, r"logits: expected at least one class, got shape \(2, 7, 0\)"),
        ({"logits": torch.zeros(2, 7, 3).long()}, TypeError, "logits: expected dtype float16.*got .*int64"),
        ({"labels": LABELS[:, 1:]}, ValueError, r"labels: expected shape \(B, A\) with .*A = 7, got \(2, 6\)"),
        ({"labels": LABELS.int()}, TypeError, "labels: expected dtype int64, got int32"),
        ({"labels": LABELS + 3}, RuntimeError, "labels: expected values below 3, got 3"),
        ({"targets": LABELS + 4}, RuntimeError, "targets: expected values below 3, got 4"),
        ({"targets": LABELS[0]}, ValueError, r"targets: expected shape \(B, A\), got \(7,\)"),
        ({"targets": LABELS.int()}, TypeError, "targets: expected dtype int64, got int32"),
        ({"eligible": LABELS[0] > 0}, ValueError, r"eligible: expected shape \(B, A\), got \(7,\)"),
        ({"eligible": LABELS}, TypeError, "eligible: expected dtype bool, got int64"),
        ({"ratio": -1.0}, ValueError, "ratio: expected a number in .*got -1.0"),
        ({"ratio": math.inf}, ValueError, "ratio: expected a finite number, got inf"),
        ({"min_negatives": -1}, ValueError, "min_negatives: expected at least 0, got -1"),
        ({"labels": LABELS.to("meta")}, ValueError, "labels: expected device cpu as logits has, got meta"),
    ],
)
@pytest.mark.cpu_only
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        rx.mined_cross_entropy(**GOOD | kwargs)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(2, 7), r"logits: expected shape \(B, A, C\) with C > 0, got \(2, 7\)"),
        (1, LABELS[:, 1:], r"labels: expected shape \(2, 7\) as logits has, got \(2, 6\)"),
        (1, LABELS.int(), "labels: expected dtype Long, got Int"),
        (2, LABELS[:, 1:], r"targets: expected shape \(2, 7\) as logits has, got \(2, 6\)"),
        (3, LABELS, "eligible: expected dtype Bool, got Long"),
        (4, math.inf, "ratio: expected a finite number of at least 0, got inf"),
        (5, -1, "min_negatives: expected at least 0, got -1"),
    ],
)
def test_op_itself_checks(position, value, message):
    arguments = [*GOOD.values(), None, None, 3.0, 0]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        OP(*arguments)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.ones(3), r"grad: expected shape \(2,\), got \(3\)"),
        (0, torch.ones(2).double(), "grad: expected dtype Float, got Double"),
        (3, LABELS, "chosen: expected dtype Bool, got Long"),
    ],
)
def test_backward_itself_checks(position, value, message):
    arguments = [torch.ones(2), *GOOD.values(), LABELS > 0]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        BACKWARD(*arguments)
