from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..cases import TOLERANCES, far_boxes, random_boxes

OP = torch.ops.refinedet_ext.decode_boxes.default


def inputs(rng, *shape, anchors_shape=None, dtype=torch.float32):
    deltas = torch.randn(*shape, 4, generator=rng) * 3
    return deltas.to(dtype), random_boxes(*(anchors_shape or shape[-1:]), rng=rng).to(dtype)


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 33), (3, 5000), (2, 3, 4)])
@pytest.mark.parametrize("clip_to", [None, (1.0, 0.5)])
def test_agrees_with_reference(face, dtype, rng, shape, clip_to):
    deltas, anchors = inputs(rng, *shape, dtype=dtype)
    got = face.decode_boxes(deltas, anchors, clip_to=clip_to)
    assert got.dtype == dtype
    torch.testing.assert_close(got, rx.reference.decode_boxes(deltas, anchors, clip_to=clip_to), **TOLERANCES[dtype])


@pytest.mark.parametrize(
    ("shape", "anchors_shape"), [((4, 6), (4, 6)), ((4, 6), (1, 6)), ((4, 6), (4, 1)), ((6,), (4, 6)), ((4, 1), (1, 6))]
)
def test_broadcasts_as_torch_does(face, rng, shape, anchors_shape):
    deltas, anchors = inputs(rng, *shape, anchors_shape=anchors_shape)
    torch.testing.assert_close(
        face.decode_boxes(deltas, anchors), rx.reference.decode_boxes(deltas, anchors), **TOLERANCES[torch.float32]
    )


def test_non_contiguous(face, rng):
    deltas, anchors = inputs(rng, 10, 3)
    strided = deltas.transpose(0, 1).contiguous().transpose(0, 1)
    every_other = torch.stack([anchors, anchors], dim=1).flatten(0, 1)[::2]
    assert not strided.is_contiguous() and not every_other.is_contiguous()
    torch.testing.assert_close(
        face.decode_boxes(strided, every_other), face.decode_boxes(deltas, anchors), rtol=0, atol=0
    )


@pytest.mark.parametrize(("shape", "anchors_shape"), [((0,), (0,)), ((0, 5), (5,)), ((3, 0), (0,)), ((0, 0), (0,))])
def test_empty(face, shape, anchors_shape):
    assert face.decode_boxes(torch.zeros(*shape, 4), torch.zeros(*anchors_shape, 4)).shape == (*shape, 4)


def test_mixed_dtypes_promote(face, rng):
    deltas, anchors = inputs(rng, 2, 9)
    got = face.decode_boxes(deltas.half(), anchors)
    assert got.dtype == torch.float32
    torch.testing.assert_close(
        got, rx.reference.decode_boxes(deltas.half().float(), anchors), **TOLERANCES[torch.float32]
    )


def test_extreme_deltas_stay_finite(face, dtype):
    big = torch.finfo(dtype).max
    deltas = torch.tensor([[x, y, w, h] for x in (big, -big) for y in (big, 0) for w in (big, -big) for h in (big, 0)])
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    boxes = face.decode_boxes(deltas.to(dtype), anchors.to(dtype))
    assert boxes.isfinite().all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_infinite_deltas_and_nan(face):
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert face.decode_boxes(torch.full((1, 4), math.inf), anchors).isfinite().all()
    assert face.decode_boxes(torch.full((1, 4), math.nan), anchors).isnan().all()
    one = face.decode_boxes(torch.tensor([[math.nan, 0.0, 0.0, 0.0]]), anchors)[0]
    assert one[[0, 2]].isnan().all() and one[[1, 3]].isfinite().all()


def test_far_anchors_stay_finite(face, dtype):
    anchors = far_boxes(dtype)
    most = torch.finfo(dtype).max
    zeros = torch.zeros_like(anchors)
    tolerance = TOLERANCES[dtype]["rtol"]
    torch.testing.assert_close(face.decode_boxes(zeros, anchors) / most, anchors / most, rtol=tolerance, atol=tolerance)
    for value in (-most, -3.0, 3.0, most):
        deltas = torch.full_like(anchors, value)
        got = face.decode_boxes(deltas, anchors)
        assert got.isfinite().all()
        expected = rx.reference.decode_boxes(deltas, anchors)
        torch.testing.assert_close(got / most, expected / most, rtol=tolerance, atol=tolerance)


def test_far_anchor_of_the_smallest_case(face):
    anchor = torch.tensor([[2e38, 2e38, 3e38, 3e38]])
    torch.testing.assert_close(face.decode_boxes(torch.zeros(1, 4), anchor), anchor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_backward_of_far_anchors(dtype):
    anchors = far_boxes(dtype) * 0.99  # what clamp gives at its very limit differs between versions of torch
    grad = torch.full_like(anchors, 0.25)
    for value in (-1.0, 0.0, 1.0):
        ours = [torch.full_like(anchors, value).requires_grad_(), anchors.clone().requires_grad_()]
        reference = [x.detach().clone().requires_grad_() for x in ours]
        got = torch.autograd.grad(rx.decode_boxes(*ours), ours, grad)
        expected = torch.autograd.grad(rx.reference.decode_boxes(*reference), reference, grad)
        for a, b in zip(got, expected, strict=True):
            assert a.isfinite().all()
            if dtype in (torch.float32, torch.float64):  # the reference lets no gradient through a saturated cast
                torch.testing.assert_close(a, b, **TOLERANCES[dtype])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-40, 40, width=32), min_size=4, max_size=4), st.floats(0.0625, 512, width=32))
def test_decode_undoes_encode(values, side):
    anchor = torch.tensor([[0.0, 0.0, side, side]], dtype=torch.float64)
    deltas = torch.tensor([values], dtype=torch.float64)
    again = rx.reference.encode_boxes(rx.decode_boxes(deltas, anchor), anchor)
    torch.testing.assert_close(again, deltas, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("clip_to", [None, (0.6, 0.5)])
@pytest.mark.parametrize("shapes", [((2, 5), (5,)), ((5,), (2, 5)), ((2, 5), (2, 5)), ((2, 5), (2, 1))])
def test_gradcheck(rng, clip_to, shapes):
    deltas, anchors = inputs(rng, *shapes[0], anchors_shape=shapes[1], dtype=torch.float64)
    arguments = (deltas.requires_grad_(), anchors.requires_grad_())
    assert torch.autograd.gradcheck(lambda d, a: rx.decode_boxes(d, a, clip_to=clip_to), arguments)


def test_gradient_is_zero_where_clamped():
    deltas = torch.tensor([[1e9, 0.0, 100.0, -100.0]], requires_grad=True)
    rx.decode_boxes(deltas, torch.tensor([[0.0, 0.0, 1.0, 1.0]])).sum().backward()
    torch.testing.assert_close(deltas.grad, torch.tensor([[0.0, 2.0 * 0.1, 0.0, 0.0]]), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_backward_agrees_with_reference(rng, dtype):
    deltas, anchors = inputs(rng, 3, 300, dtype=dtype)
    weight = torch.randn(3, 300, 4, generator=rng)
    grads = []
    for function in (rx.decode_boxes, rx.reference.decode_boxes):
        leaves = deltas.clone().requires_grad_(), anchors.clone().requires_grad_()
        (function(*leaves).float() * weight).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    # sums over three images of products that partly cancel
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, **tolerance)


@pytest.mark.cpu_only
def test_opcheck(rng):
    for clip_to in (None, [1.0, 1.0]):
        deltas, anchors = inputs(rng, 2, 5)
        arguments = (deltas.requires_grad_(), anchors.requires_grad_(), [0.1, 0.1, 0.2, 0.2], clip_to)
        torch.library.opcheck(OP, arguments)
        backward = torch.ops.refinedet_ext._decode_boxes_backward.default
        torch.library.opcheck(backward, (torch.ones(2, 5, 4), *(a.detach() for a in arguments[:2]), *arguments[2:]))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, deltas, anchors):
            return rx.decode_boxes(deltas, anchors, clip_to=(1.0, 1.0))

    deltas, anchors = inputs(rng, 2, 5)
    expected = Module()(deltas, anchors)
    torch.testing.assert_close(torch.compile(Module(), fullgraph=True, backend="aot_eager")(deltas, anchors), expected)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), (deltas, anchors), dynamic_shapes=({0: batch}, {}))
    more = deltas.repeat(3, 1, 1)
    torch.testing.assert_close(program.module()(more, anchors), expected.repeat(3, 1, 1))


def test_autocast_computes_in_float32(rng):
    deltas, anchors = inputs(rng, 2, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rx.decode_boxes(deltas, anchors).dtype == torch.float32


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"deltas": torch.zeros(3, 5)}, ValueError, r"deltas: expected shape \(..., 4\), got \(3, 5\)"),
        ({"anchors": torch.zeros(4)[0]}, ValueError, r"anchors: expected shape \(..., 4\), got \(\)"),
        ({"anchors": torch.zeros(2, 4)}, ValueError, r"anchors: expected a shape that broadcasts with deltas \(3, 4\)"),
        ({"deltas": torch.zeros(3, 4, dtype=torch.int64)}, TypeError, "deltas: expected dtype float16.*got .*int64"),
        ({"variances": (0.1, 0.2)}, ValueError, "variances: expected 4 values .*got 2"),
        ({"variances": (0.1, 0.1, 0.0, 0.2)}, ValueError, "variances: expected positive finite values"),
        ({"clip_to": (1.0,)}, ValueError, r"clip_to: expected \(width, height\), got 1 values"),
        ({"clip_to": (-1.0, 1.0)}, ValueError, "clip_to: expected finite sizes of at least 0"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    arguments = {"deltas": torch.zeros(3, 4), "anchors": torch.zeros(3, 4)} | kwargs
    with pytest.raises(error, match=message):
        face.decode_boxes(**arguments)


def test_bad_device():
    with pytest.raises(ValueError, match="anchors: expected device cpu as deltas has, got meta"):
        rx.decode_boxes(torch.zeros(3, 4), torch.zeros(3, 4, device="meta"))


def test_op_itself_checks():
    with pytest.raises(RuntimeError, match=r"deltas: expected shape \(..., 4\), got \(3, 5\)"):
        OP(torch.zeros(3, 5), torch.zeros(3, 4), [0.1, 0.1, 0.2, 0.2], None)
    with pytest.raises(RuntimeError, match="anchors: expected dtype Float, got Double"):
        OP(torch.zeros(3, 4), torch.zeros(3, 4).double(), [0.1, 0.1, 0.2, 0.2], None)
