from __future__ import annotations

import math

import pytest
import torch

import refinedet_ext as rx

from ..cases import TOLERANCES, far_boxes, random_boxes
from ..threads import with_threads

OP = torch.ops.refinedet_ext.decode_cascade.default
VARIANCES = [0.1, 0.1, 0.2, 0.2]


def inputs(rng, batch, count, *, shared=True, dtype=torch.float32):
    arm, odm = (torch.randn(batch, count, 4, generator=rng) * 2 for _ in range(2))
    anchors = random_boxes(*((count,) if shared else (batch, count)), rng=rng)
    return arm.to(dtype), odm.to(dtype), anchors.to(dtype)


def some_kept(rng, batch, count, share=0.3):
    """KeptAnchors with about `share` of the anchors, none in the first image."""
    mask = torch.rand(batch, count, generator=rng) < share
    mask[:1] = False
    return rx.reference.filter_anchors(torch.stack([torch.zeros(batch, count), mask * 20.0 - 10.0], dim=-1))


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (2, 15), (3, 16), (2, 33), (3, 5000)])
@pytest.mark.parametrize("shared", [True, False])
def test_agrees_with_reference(face, dtype, rng, batch, count, shared):
    arguments = inputs(rng, batch, count, shared=shared, dtype=dtype)
    for kept in (None, some_kept(rng, batch, count)):
        got = face.decode_cascade(*arguments, kept=kept)
        assert got.dtype == dtype
        expected = rx.reference.decode_cascade(*arguments, kept=kept)
        torch.testing.assert_close(got, expected, **TOLERANCES[dtype])


def test_is_decode_boxes_twice(face, rng):
    arm, odm, anchors = inputs(rng, 2, 100)
    variances = (0.2, 0.1, 0.3, 0.4)
    refined = face.decode_boxes(arm, anchors, variances)
    got = face.decode_cascade(arm, odm, anchors, variances)
    assert torch.equal(got, face.decode_boxes(odm, refined, variances))


def test_refined_box_is_not_rounded(face, rng):
    arm, odm, anchors = inputs(rng, 2, 500, dtype=torch.float16)
    got = face.decode_cascade(arm, odm, anchors)
    exact = rx.reference.decode_cascade(arm.double(), odm.double(), anchors.double()).half()
    assert (got != exact).float().mean() < 0.01
    rounded = face.decode_boxes(odm, face.decode_boxes(arm, anchors))
    assert (rounded != exact).float().mean() > 0.1


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 200])
def test_kept_rows_only(face, rng, count):
    arguments = inputs(rng, 1, 200)
    order = torch.randperm(200, generator=rng)[:count]  # any order will do, not only an ascending one
    index = torch.full((1, 200), -1, dtype=torch.int64)
    index[0, :count] = order
    got = face.decode_cascade(*arguments, kept=rx.KeptAnchors(index, torch.tensor([count])))
    everything = face.decode_cascade(*arguments)
    expected = torch.zeros_like(everything)
    expected[0, order] = everything[0, order]
    assert torch.equal(got, expected)


def test_filter_then_decode(face, rng):
    arguments = inputs(rng, 2, 50)
    logits = torch.randn(2, 50, 2, generator=rng) * 4
    got = face.decode_cascade(*arguments, kept=face.filter_anchors(logits))
    mask = rx.reference.filter_anchors_mask(logits)
    assert 0 < mask.sum() < mask.numel()
    assert torch.equal(got, torch.where(mask[..., None], face.decode_cascade(*arguments), 0.0))


def test_non_contiguous(face, rng):
    arm, odm, anchors = inputs(rng, 3, 10)
    kept = some_kept(rng, 3, 10, 0.5)
    strided = arm.transpose(0, 1).contiguous().transpose(0, 1)
    every_other = torch.stack([anchors, anchors], dim=1).flatten(0, 1)[::2]
    index = torch.stack([kept.index, kept.index], dim=2)[..., 0]
    assert not (strided.is_contiguous() or every_other.is_contiguous() or index.is_contiguous())
    got = face.decode_cascade(strided, odm, every_other, kept=kept._replace(index=index))
    assert torch.equal(got, face.decode_cascade(arm, odm, anchors, kept=kept))


@pytest.mark.parametrize(("batch", "count"), [(0, 0), (0, 5), (3, 0)])
@pytest.mark.parametrize("shared", [True, False])
def test_empty(face, rng, batch, count, shared):
    arguments = inputs(rng, batch, count, shared=shared)
    kept = rx.KeptAnchors(torch.zeros(batch, count, dtype=torch.int64), torch.zeros(batch, dtype=torch.int64))
    for chosen in (None, kept):
        assert face.decode_cascade(*arguments, kept=chosen).shape == (batch, count, 4)


def test_mixed_dtypes_promote(face, rng):
    arm, odm, anchors = inputs(rng, 2, 9)
    got = face.decode_cascade(arm.half(), odm, anchors)
    assert got.dtype == torch.float32
    expected = rx.reference.decode_cascade(arm.half(), odm, anchors)
    torch.testing.assert_close(got, expected, **TOLERANCES[torch.float32])


def test_extreme_deltas_stay_finite(face, dtype):
    big = torch.finfo(dtype).max
    deltas = torch.tensor([[[x, -x, w, h] for x in (big, 0) for w in (big, -big) for h in (big, 0)]]).to(dtype)
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 8).to(dtype)
    assert face.decode_cascade(deltas, deltas.flip(1), anchors).isfinite().all()


@pytest.mark.parametrize("filtered", [True, False])
def test_far_anchors_stay_finite(face, dtype, filtered):
    anchors = far_boxes(dtype)
    most, near = torch.finfo(dtype).max, TOLERANCES[dtype]["rtol"]
    every = torch.arange(len(anchors))[None]
    kept = rx.KeptAnchors(every, torch.tensor([len(anchors)])) if filtered else None
    zeros = torch.zeros_like(anchors)[None]
    same = face.decode_cascade(zeros, zeros, anchors, kept=kept)[0]
    torch.testing.assert_close(same / most, anchors / most, rtol=near, atol=near)
    for value in (-most, -3.0, 3.0, most):
        deltas = torch.full_like(anchors, value)[None]
        got = face.decode_cascade(deltas, deltas, anchors, kept=kept)
        assert got.isfinite().all()
        expected = rx.reference.decode_cascade(deltas, deltas, anchors)
        torch.testing.assert_close(got / most, expected / most, rtol=near, atol=near)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_backward_of_far_anchors(dtype):
    anchors = far_boxes(dtype) * 0.99  # what clamp gives at its very limit differs between versions of torch
    for value in (-1.0, 0.0, 1.0):
        ours = [torch.full_like(anchors, v)[None].requires_grad_() for v in (value, -value)]
        grads = torch.autograd.grad(rx.decode_cascade(*ours, anchors).sum() / 16, ours)
        references = [x.detach().clone().requires_grad_() for x in ours]
        expected = torch.autograd.grad(rx.reference.decode_cascade(*references, anchors).sum() / 16, references)
        for a, b in zip(grads, expected, strict=True):
            assert a.isfinite().all()
            if dtype in (torch.float32, torch.float64):  # the reference lets no gradient through a saturated cast
                torch.testing.assert_close(a, b, **TOLERANCES[dtype])


def test_nan_stays_in_its_axis(face):
    arm, odm = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    arm[0, 0, 0] = math.nan
    box = face.decode_cascade(arm, odm, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))[0, 0]
    assert box[[0, 2]].isnan().all() and torch.equal(box[[1, 3]], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_gradcheck(rng, shared, filtered):
    arguments = [t.requires_grad_() for t in inputs(rng, 2, 5, shared=shared, dtype=torch.float64)]
    kept = some_kept(rng, 2, 5, 0.6) if filtered else None
    assert torch.autograd.gradcheck(lambda *a: rx.decode_cascade(*a, kept=kept), arguments)


def test_rows_left_out_get_no_gradient(rng):
    arm, odm, anchors = (t.requires_grad_() for t in inputs(rng, 2, 6, shared=False))
    index = torch.tensor([[1, 4, -1, -1, -1, -1], [-1] * 6])
    out = rx.decode_cascade(arm, odm, anchors, kept=rx.KeptAnchors(index, torch.tensor([2, 0])))
    out.sum().backward()
    left_out = torch.ones(2, 6, dtype=torch.bool)
    left_out[0, [1, 4]] = False
    for leaf in (arm, odm, anchors):
        assert (leaf.grad[left_out] == 0).all() and (leaf.grad[~left_out] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("filtered", [True, False])
def test_backward_agrees_with_reference(rng, dtype, filtered):
    arguments = inputs(rng, 3, 300, dtype=dtype)
    kept = some_kept(rng, 3, 300) if filtered else None
    weight = torch.randn(3, 300, 4, generator=rng)
    grads = []
    for function in (rx.decode_cascade, rx.reference.decode_cascade):
        leaves = [t.clone().requires_grad_() for t in arguments]
        (function(*leaves, kept=kept).float() * weight).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    # sums over three images of products that partly cancel
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, **tolerance)


@pytest.mark.cpu_only
@pytest.mark.parametrize("filtered", [True, False])
def test_opcheck(rng, filtered):
    tensors = inputs(rng, 2, 5)
    kept = some_kept(rng, 2, 5, 0.5) if filtered else (None, None)
    torch.library.opcheck(OP, (*(t.clone().requires_grad_() for t in tensors), *kept, VARIANCES))
    backward = torch.ops.refinedet_ext._decode_cascade_backward.default
    torch.library.opcheck(backward, (torch.ones(2, 5, 4), *tensors, *kept, VARIANCES))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, arm, odm, anchors, logits):
            return rx.decode_cascade(arm, odm, anchors, kept=rx.filter_anchors(logits))

    arguments = (*inputs(rng, 2, 5), torch.randn(2, 5, 2, generator=rng) * 4)
    expected = Module()(*arguments)
    torch.testing.assert_close(torch.compile(Module(), fullgraph=True, backend="aot_eager")(*arguments), expected)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), arguments, dynamic_shapes=({0: batch}, {0: batch}, {}, {0: batch}))
    more = [t if t.dim() == 2 else t.repeat(3, 1, 1) for t in arguments]
    torch.testing.assert_close(program.module()(*more), expected.repeat(3, 1, 1))


def test_autocast_computes_in_float32(rng):
    arguments = inputs(rng, 2, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rx.decode_cascade(*arguments).dtype == torch.float32


@pytest.mark.parametrize("filtered", [True, False])
def test_threads_give_the_same_bits(face, rng, filtered):
    arguments = inputs(rng, 3, 9001)
    kept = some_kept(rng, 3, 9001) if filtered else None
    one, several = with_threads(lambda: face.decode_cascade(*arguments, kept=kept), 1, 3)
    assert torch.equal(one, several)


KEPT = rx.KeptAnchors(torch.zeros(2, 3, dtype=torch.int64), torch.ones(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"arm_deltas": torch.zeros(3, 4)}, ValueError, r"arm_deltas: expected shape \(B, A, 4\), got \(3, 4\)"),
        ({"odm_deltas": torch.zeros(2, 4, 4)}, ValueError, r"odm_deltas: .* with B = 2, A = 3, got \(2, 4, 4\)"),
        ({"anchors": torch.zeros(4, 4)}, ValueError, r"anchors: expected shape \(A, 4\) with A = 3, got \(4, 4\)"),
        ({"anchors": torch.zeros(1, 3, 4)}, ValueError, r"anchors: expected shape \(B, A, 4\) .*got \(1, 3, 4\)"),
        ({"anchors": torch.zeros(3, 4).long()}, TypeError, "anchors: expected dtype float16.*got .*int64"),
        ({"variances": (0.1, 0.2)}, ValueError, "variances: expected 4 values .*got 2"),
        ({"kept": 5}, TypeError, r"kept: expected \(index, count\) as filter_anchors returns them, got int"),
        ({"kept": KEPT._replace(index=KEPT.index[:, :2])}, ValueError, r"kept.index: expected shape \(B, A\)"),
        ({"kept": KEPT._replace(index=KEPT.index.int())}, TypeError, "kept.index: expected dtype int64, got int32"),
        ({"kept": KEPT._replace(count=KEPT.count[:1])}, ValueError, r"kept.count: expected shape \(B,\) with B = 2"),
        ({"kept": KEPT._replace(count=KEPT.count.bool())}, TypeError, "kept.count: expected dtype int64, got bool"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    arguments = {"arm_deltas": torch.zeros(2, 3, 4), "odm_deltas": torch.zeros(2, 3, 4), "anchors": torch.zeros(3, 4)}
    with pytest.raises(error, match=message):
        face.decode_cascade(**(arguments | kwargs))


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [
        ([[0, 3, 0], [0, 0, 0]], [2, 1], "kept.index: expected values from 0 to 2, got 3"),
        ([[0, 0, 0], [-1, 0, 0]], [2, 1], "kept.index: expected values from 0 to 2, got -1"),
        ([[0, 0, 0], [0, 0, 0]], [0, 4], "kept.count: expected values from 0 to 3, got 4"),
        ([[0, 0, 0], [0, 0, 0]], [-1, 0], "kept.count: expected values from 0 to 3, got -1"),
    ],
)
@pytest.mark.cpu_only
def test_kept_that_names_missing_rows(face, index, count, message):
    kept = rx.KeptAnchors(torch.tensor(index), torch.tensor(count))
    with pytest.raises((RuntimeError, ValueError), match=message):
        face.decode_cascade(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.zeros(3, 4), kept=kept)


def test_bad_device():
    with pytest.raises(ValueError, match="anchors: expected device cpu as arm_deltas has, got meta"):
        rx.decode_cascade(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), torch.zeros(3, 4, device="meta"))


def test_op_itself_checks():
    deltas, anchors = torch.zeros(1, 3, 4), torch.zeros(3, 4)
    with pytest.raises(
        RuntimeError, match=r"odm_deltas: expected shape \(1, 3, 4\) as arm_deltas has, got \(1, 2, 4\)"
    ):
        OP(deltas, deltas[:, :2], anchors, None, None, VARIANCES)
    with pytest.raises(RuntimeError, match="anchors: expected dtype Float, got Double"):
        OP(deltas, deltas, anchors.double(), None, None, VARIANCES)
    with pytest.raises(RuntimeError, match=r"anchors: expected shape \(3, 4\) or \(1, 3, 4\), got \(2, 4\)"):
        OP(deltas, deltas, anchors[:2], None, None, VARIANCES)
    with pytest.raises(RuntimeError, match="kept: expected both index and count, or neither"):
        OP(deltas, deltas, anchors, torch.zeros(1, 3).long(), None, VARIANCES)
