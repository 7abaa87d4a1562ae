from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..cases import TOLERANCES, far_boxes, random_boxes
from ..threads import with_threads

OP = torch.ops.refinedet_ext.encode_boxes.default
VARIANCES = [0.1, 0.1, 0.2, 0.2]


def inputs(rng, *shape, anchors_shape=None, dtype=torch.float32):
    """Boxes and anchors with sides of at least 0.02, so that a rounding of a coordinate stays one of a delta."""
    grow = torch.tensor([-0.01, -0.01, 0.01, 0.01])
    boxes, anchors = (random_boxes(*s, rng=rng) + grow for s in (shape, anchors_shape or shape[-1:]))
    return boxes.to(dtype), anchors.to(dtype)


def tolerance(dtype):
    # deltas are differences of coordinates, divided by a side and a variance: 1 / 0.02 / 0.1 times an error of 1e-7
    return TOLERANCES[dtype] | {"atol": {torch.float32: 2e-4, torch.float64: 1e-11}.get(dtype, 5e-4)}


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 33), (3, 5000), (2, 3, 4)])
def test_agrees_with_reference(face, dtype, rng, shape):
    boxes, anchors = inputs(rng, *shape, dtype=dtype)
    got = face.encode_boxes(boxes, anchors)
    assert got.dtype == dtype
    torch.testing.assert_close(got, rx.reference.encode_boxes(boxes, anchors), **tolerance(dtype))


def test_variances_divide(face, rng):
    boxes, anchors = inputs(rng, 9)
    plain = face.encode_boxes(boxes, anchors, (1.0, 1.0, 1.0, 1.0))
    got = face.encode_boxes(boxes, anchors, (0.5, 0.25, 2.0, 4.0))
    torch.testing.assert_close(got, plain / torch.tensor([0.5, 0.25, 2.0, 4.0]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shape", "anchors_shape"), [((4, 6), (4, 6)), ((4, 6), (1, 6)), ((4, 6), (4, 1)), ((6,), (4, 6)), ((4, 1), (1, 6))]
)
def test_broadcasts_as_torch_does(face, rng, shape, anchors_shape):
    boxes, anchors = inputs(rng, *shape, anchors_shape=anchors_shape)
    expected = rx.reference.encode_boxes(boxes, anchors)
    torch.testing.assert_close(face.encode_boxes(boxes, anchors), expected, **tolerance(torch.float32))


def test_non_contiguous(face, rng):
    boxes, anchors = inputs(rng, 10, 3)
    strided = boxes.transpose(0, 1).contiguous().transpose(0, 1)
    every_other = torch.stack([anchors, anchors], dim=1).flatten(0, 1)[::2]
    assert not strided.is_contiguous() and not every_other.is_contiguous()
    torch.testing.assert_close(
        face.encode_boxes(strided, every_other), face.encode_boxes(boxes, anchors), rtol=0, atol=0
    )


@pytest.mark.parametrize(("shape", "anchors_shape"), [((0,), (0,)), ((0, 5), (5,)), ((3, 0), (0,)), ((0, 0), (0,))])
def test_empty(face, shape, anchors_shape):
    assert face.encode_boxes(torch.zeros(*shape, 4), torch.zeros(*anchors_shape, 4)).shape == (*shape, 4)


def test_mixed_dtypes_promote(face, rng):
    boxes, anchors = inputs(rng, 2, 9)
    got = face.encode_boxes(boxes, anchors.double())
    assert got.dtype == torch.float64
    expected = rx.reference.encode_boxes(boxes.double(), anchors.double())
    torch.testing.assert_close(got, expected, **tolerance(torch.float64))


def test_boxes_without_area_stay_finite(face, dtype):
    flat = [[0.5, 0.5, 0.5, 0.5], [0.0, 0.5, 1.0, 0.5], [1.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0, 0.0, 1.0, 1.0]]
    boxes = torch.tensor(flat, dtype=dtype)
    got = face.encode_boxes(boxes[:, None], boxes[None])
    assert got.isfinite().all()
    torch.testing.assert_close(got, rx.reference.encode_boxes(boxes[:, None], boxes[None]), **tolerance(dtype))


def test_far_boxes_stay_finite(face, dtype):
    sides = far_boxes(dtype)
    boxes, anchors = sides.repeat_interleave(len(sides), 0), sides.repeat(len(sides), 1)
    got = face.encode_boxes(boxes, anchors)
    assert got.isfinite().all()
    torch.testing.assert_close(got, rx.reference.encode_boxes(boxes, anchors), **tolerance(dtype))
    assert not face.encode_boxes(sides, sides).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_backward_of_far_boxes(dtype):
    sides = far_boxes(dtype)
    ours = [sides.repeat_interleave(len(sides), 0).requires_grad_(), sides.repeat(len(sides), 1).requires_grad_()]
    for a in torch.autograd.grad(rx.encode_boxes(*ours).sum(), ours):
        assert a.isfinite().all()


def test_infinity_and_nan(face):
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert face.encode_boxes(torch.full((1, 4), math.nan), anchors).isnan().all()
    one = face.encode_boxes(torch.tensor([[0.0, math.nan, 1.0, 1.0]]), anchors)[0]
    assert one[[1, 3]].isnan().all() and one[[0, 2]].isfinite().all()
    far = face.encode_boxes(torch.tensor([[0.0, 0.0, math.inf, 1.0]]), anchors)[0]
    torch.testing.assert_close(far, torch.tensor([1e7, 0.0, 50.0, 0.0]), rtol=1e-6, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-40, 40, width=32), min_size=4, max_size=4), st.floats(0.0625, 512, width=32))
def test_encode_undoes_decode(values, side):
    anchor = torch.tensor([[0.0, 0.0, side, side]], dtype=torch.float64)
    deltas = torch.tensor([values], dtype=torch.float64)
    again = rx.encode_boxes(rx.decode_boxes(deltas, anchor), anchor)
    torch.testing.assert_close(again, deltas, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shapes", [((2, 5), (5,)), ((5,), (2, 5)), ((2, 5), (2, 5)), ((2, 5), (2, 1))])
def test_gradcheck(rng, shapes):
    boxes, anchors = inputs(rng, *shapes[0], anchors_shape=shapes[1], dtype=torch.float64)
    assert torch.autograd.gradcheck(rx.encode_boxes, (boxes.requires_grad_(), anchors.requires_grad_()))


def test_gradient_is_zero_where_clamped():
    # one million anchor sides away, no side in x, and e^10 times as high
    boxes = torch.tensor([[2e6, 0.0, 2e6, 3e4]], requires_grad=True)
    anchors = torch.tensor([[0.0, 0.0, 1.0, 1.0]], requires_grad=True)
    rx.encode_boxes(boxes, anchors).backward(torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    assert torch.equal(boxes.grad, torch.zeros(1, 4))
    assert torch.equal(anchors.grad, torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_backward_agrees_with_reference(rng, dtype):
    boxes, anchors = inputs(rng, 3, 300, dtype=dtype)
    weight = torch.randn(3, 300, 4, generator=rng)
    grads = []
    for function in (rx.encode_boxes, rx.reference.encode_boxes):
        leaves = boxes.clone().requires_grad_(), anchors.clone().requires_grad_()
        (function(*leaves).float() * weight).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    # relative to the size of these gradients, about 1 / (0.1 side)
    error = 1e-4 if dtype == torch.float32 else 2e-2
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, rtol=error, atol=error * float(expected.abs().max()))


@pytest.mark.cpu_only
def test_opcheck(rng):
    boxes, anchors = inputs(rng, 2, 5)
    arguments = (boxes.requires_grad_(), anchors.requires_grad_(), VARIANCES)
    torch.library.opcheck(OP, arguments)
    backward = torch.ops.refinedet_ext._encode_boxes_backward.default
    torch.library.opcheck(backward, (torch.ones(2, 5, 4), boxes.detach(), anchors.detach(), VARIANCES))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, boxes, anchors):
            return rx.encode_boxes(boxes, anchors)

    boxes, anchors = inputs(rng, 2, 5)
    expected = Module()(boxes, anchors)
    torch.testing.assert_close(torch.compile(Module(), fullgraph=True, backend="aot_eager")(boxes, anchors), expected)
    program = torch.export.export(Module(), (boxes, anchors), dynamic_shapes=({0: torch.export.Dim("batch")}, {}))
    torch.testing.assert_close(program.module()(boxes.repeat(3, 1, 1), anchors), expected.repeat(3, 1, 1))


def test_autocast_computes_in_float32(rng):
    boxes, anchors = inputs(rng, 2, 5, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rx.encode_boxes(boxes, anchors).dtype == torch.float32


def test_threads_give_the_same_bits(face, rng):
    boxes, anchors = inputs(rng, 2, 9001)
    one, several = with_threads(lambda: face.encode_boxes(boxes, anchors), 1, 3)
    assert torch.equal(one, several)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"boxes": torch.zeros(3, 5)}, ValueError, r"boxes: expected shape \(..., 4\), got \(3, 5\)"),
        ({"anchors": torch.zeros(4)[0]}, ValueError, r"anchors: expected shape \(..., 4\), got \(\)"),
        ({"anchors": torch.zeros(2, 4)}, ValueError, r"anchors: expected a shape that broadcasts with boxes \(3, 4\)"),
        ({"boxes": torch.zeros(3, 4, dtype=torch.int64)}, TypeError, "boxes: expected dtype float16.*got .*int64"),
        ({"variances": (0.1, 0.2)}, ValueError, "variances: expected 4 values .*got 2"),
        ({"variances": (0.1, 0.1, 0.0, 0.2)}, ValueError, "variances: expected positive finite values"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    arguments = {"boxes": torch.zeros(3, 4), "anchors": torch.zeros(3, 4)} | kwargs
    with pytest.raises(error, match=message):
        face.encode_boxes(**arguments)


def test_bad_device():
    with pytest.raises(ValueError, match="anchors: expected device cpu as boxes has, got meta"):
        rx.encode_boxes(torch.zeros(3, 4), torch.zeros(3, 4, device="meta"))


def test_op_itself_checks():
    with pytest.raises(RuntimeError, match=r"boxes: expected shape \(..., 4\), got \(3, 5\)"):
        OP(torch.zeros(3, 5), torch.zeros(3, 4), VARIANCES)
    with pytest.raises(RuntimeError, match="anchors: expected dtype Float, got Double"):
        OP(torch.zeros(3, 4), torch.zeros(3, 4).double(), VARIANCES)
    with pytest.raises(RuntimeError, match=r"anchors: expected rows that repeat over those of boxes \(3, 4\)"):
        OP(torch.zeros(3, 4), torch.zeros(2, 4), VARIANCES)
