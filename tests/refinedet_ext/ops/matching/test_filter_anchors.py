from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..threads import with_threads

OP = torch.ops.refinedet_ext.filter_anchors.default
MASK_OP = torch.ops.refinedet_ext.filter_anchors_mask.default


def logits(rng, batch, count, dtype=torch.float32):
    return (torch.randn(batch, count, 2, generator=rng) * 4).to(dtype)


def check(face, x, theta):
    """Both ops against the reference, and against each other."""
    kept, mask = face.filter_anchors(x, theta), face.filter_anchors_mask(x, theta)
    assert (kept.index.dtype, kept.count.dtype, mask.dtype) == (torch.int64, torch.int64, torch.bool)
    expected = rx.reference.filter_anchors(x, theta)
    assert torch.equal(kept.index, expected.index) and torch.equal(kept.count, expected.count)
    assert torch.equal(mask, rx.reference.filter_anchors_mask(x, theta))
    return kept, mask


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (2, 15), (3, 33), (2, 1024), (3, 5000)])
@pytest.mark.parametrize("theta", [0.99, 0.5, 0.01, 1.0, 0.0])
def test_agrees_with_reference(face, dtype, rng, batch, count, theta):
    check(face, logits(rng, batch, count, dtype), theta)


def test_keeps_softmax_up_to_theta(face, rng):
    x = logits(rng, 2, 500, torch.float64)
    kept, mask = check(face, x, 0.9)
    assert torch.equal(mask, x.softmax(-1)[..., 0] <= 0.9)
    assert 0 < int(mask.sum()) < mask.numel()
    for row, count, chosen in zip(kept.index, kept.count, mask, strict=True):
        assert row[:count].tolist() == chosen.nonzero().flatten().tolist()
        assert (row[count:] == -1).all()


def test_the_edge_itself_is_kept(face, dtype):
    """softmax = 1/2 exactly, and one step to either side of it."""
    step = torch.finfo(dtype).eps
    x = torch.tensor([[[1.0, 1.0], [1.0 + step, 1.0], [1.0, 1.0 + step]]], dtype=dtype)
    assert check(face, x, 0.5)[1].tolist() == [[True, False, True]]


def test_threshold_is_not_rounded_to_float(face):
    """log(0.01 / 0.99) is no float32: the floats next to it fall on either side."""
    edge = torch.tensor(math.log1p(-0.99) - math.log(0.99), dtype=torch.float64)
    near = edge.float()
    steps = torch.stack([torch.nextafter(near, torch.tensor(s)) for s in (-math.inf, math.inf)] + [near])
    x = torch.stack([torch.zeros(3), steps], dim=-1)[None]
    assert torch.equal(check(face, x, 0.99)[1][0], steps.double() >= edge)


def test_nothing_and_everything(face, rng):
    x = logits(rng, 2, 40)
    assert check(face, x, 1.0)[0].count.tolist() == [40, 40]
    assert check(face, x, 0.0)[0].count.tolist() == [0, 0]


def test_infinity_and_nan(face):
    inf, nan = math.inf, math.nan
    x = torch.tensor([[[0.0, inf], [inf, 0.0], [-inf, 0.0], [0.0, -inf], [nan, 0.0], [0.0, nan], [inf, inf]]])
    assert check(face, x, 0.99)[1].tolist() == [[True, False, True, False, False, False, False]]
    assert check(face, x, 1.0)[1].tolist() == [[True, True, True, True, False, False, False]]
    assert check(face, x, 0.0)[1].tolist() == [[True, False, True, False, False, False, False]]


@pytest.mark.parametrize(("batch", "count"), [(0, 0), (0, 5), (3, 0)])
def test_empty(face, batch, count):
    kept, mask = check(face, torch.zeros(batch, count, 2), 0.99)
    assert mask.shape == kept.index.shape == (batch, count) and kept.count.tolist() == [0] * batch


def test_non_contiguous(face, rng):
    x = logits(rng, 3, 20)
    strided = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous()
    assert torch.equal(check(face, strided, 0.99)[1], check(face, x, 0.99)[1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_theta_keeps_more(differences, one, other):
    x = torch.tensor([[[0.0, d] for d in differences]])
    low, high = (rx.filter_anchors_mask(x, theta) for theta in sorted((one, other)))
    assert (high | ~low).all()


@pytest.mark.cpu_only
def test_opcheck(rng):
    for op in (OP, MASK_OP):
        torch.library.opcheck(op, (logits(rng, 2, 7), 0.99))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, x):
            return (*rx.filter_anchors(x, 0.9), rx.filter_anchors_mask(x))

    x = logits(rng, 2, 7)
    expected = Module()(x)
    for got, want in zip(torch.compile(Module(), fullgraph=True, backend="aot_eager")(x), expected, strict=True):
        assert torch.equal(got, want)
    program = torch.export.export(Module(), (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for got, want in zip(program.module()(x.repeat(3, 1, 1)), expected, strict=True):
        assert torch.equal(got, want.repeat(3, *[1] * (want.dim() - 1)))


def test_under_autograd_and_autocast(rng):
    """Whole numbers and masks have no gradient; autocast does not round the logits."""
    x = logits(rng, 2, 50).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = rx.filter_anchors_mask(x)
    assert not mask.requires_grad
    assert torch.equal(mask, rx.reference.filter_anchors_mask(x.detach()))


def test_threads_give_the_same(face, rng):
    x = logits(rng, 3, 20001)
    one, several = with_threads(lambda: (*face.filter_anchors(x), face.filter_anchors_mask(x)), 1, 3)
    assert all(torch.equal(a, b) for a, b in zip(one, several, strict=True))


@pytest.mark.parametrize("op", ["filter_anchors", "filter_anchors_mask"])
@pytest.mark.parametrize(
    ("x", "theta", "error", "message"),
    [
        (torch.zeros(3, 2), 0.99, ValueError, r"arm_logits: expected shape \(B, A, 2\), got \(3, 2\)"),
        (torch.zeros(1, 3, 3), 0.99, ValueError, r"arm_logits: expected shape \(B, A, 2\), got \(1, 3, 3\)"),
        (torch.zeros(1, 3, 2).long(), 0.99, TypeError, "arm_logits: expected dtype float16.*got .*int64"),
        (torch.zeros(1, 3, 2), 1.5, ValueError, r"theta: expected a number in \[0.0, 1.0\], got 1.5"),
        (torch.zeros(1, 3, 2), math.nan, ValueError, r"theta: expected a number in \[0.0, 1.0\], got nan"),
        (torch.zeros(1, 3, 2), "0.99", TypeError, "theta: expected a number, got str"),
    ],
)
def test_bad_input(face, op, x, theta, error, message):
    with pytest.raises(error, match=message):
        getattr(face, op)(x, theta)


@pytest.mark.parametrize("op", [OP, MASK_OP])
def test_op_itself_checks(op):
    with pytest.raises(RuntimeError, match=r"arm_logits: expected shape \(B, A, 2\), got \(3, 2\)"):
        op(torch.zeros(3, 2), 0.99)
    with pytest.raises(RuntimeError, match="theta: expected a number from 0 to 1, got 2"):
        op(torch.zeros(1, 3, 2), 2.0)
