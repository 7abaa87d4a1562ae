from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx

from ..cases import TOLERANCES
from ..threads import with_threads

OP = torch.ops.refinedet_ext.deconv_sum.default
BACKWARD = torch.ops.refinedet_ext._deconv_sum_backward.default
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

# batch, channels in, channels out, height, width, rows and columns cropped
SHAPES = [
    (1, 1, 1, 1, 1, 0, 0),
    (2, 8, 8, 3, 5, 0, 0),
    (1, 8, 8, 3, 3, 1, 1),
    (2, 5, 7, 4, 6, 1, 0),
    (3, 16, 3, 2, 9, 0, 1),
    (1, 64, 48, 10, 10, 0, 0),
    (2, 33, 64, 19, 17, 1, 1),
    (2, 40, 24, 4, 10, 1, 0),  # tensor cores take it in either layout, of all above at most channels-last
    (2, 24, 150, 17, 21, 1, 0),  # large planes: tiles of some channels, the last of fewer
]


def make(shape, rng, *, dtype=torch.float32, layout="contiguous", bias=True):
    batch, ci, co, h, w, crop_h, crop_w = shape
    tensors = [
        torch.randn(batch, ci, h, w, generator=rng),
        torch.randn(ci, co, 2, 2, generator=rng) / math.sqrt(ci),
        torch.randn(co, generator=rng) if bias else None,
        torch.randn(batch, co, 2 * h - crop_h, 2 * w - crop_w, generator=rng),
    ]
    tensors = [None if t is None else t.to(dtype) for t in tensors]
    for i in (0, 3):
        tensors[i] = tensors[i].contiguous(memory_format=LAYOUTS[layout])
    return tensors


def tolerance(dtype, channels):
    # a sum of `channels` products in another order; half types: that sum in float32 (as on tensor cores), or rounded
    # once to the half type by torch's product before bias and lateral are added, where the reference rounds three times
    eps = {torch.float32: 2e-6, torch.float64: 1e-14, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]
    return {"rtol": eps, "atol": eps * max(1.0, math.sqrt(channels))}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_agrees_with_reference(rng, shape, dtype, layout, activation):
    for bias in (True, False):
        tensors = make(shape, rng, dtype=dtype, layout=layout, bias=bias)
        before = [None if t is None else t.clone() for t in tensors]
        got = rx.deconv_sum(*tensors, activation=activation)
        wide = [None if t is None else t.double() for t in tensors]
        expected = rx.reference.deconv_sum(*wide, activation=activation).to(dtype)
        assert got.dtype == dtype and got.shape == tensors[3].shape
        torch.testing.assert_close(got, expected, **tolerance(dtype, shape[1]))
        for now, then in zip(tensors, before, strict=True):
            assert then is None or torch.equal(now, then), "an input was changed"


@pytest.mark.parametrize("shape", [(2, 8, 8, 3, 5, 0, 0), (2, 5, 7, 4, 6, 1, 0), (1, 64, 48, 10, 10, 0, 1)])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_weight_in_channels_last(rng, shape, dtype):
    tensors = make(shape, rng, dtype=dtype, layout="channels_last")
    tensors[1] = tensors[1].contiguous(memory_format=torch.channels_last)
    expected = rx.reference.deconv_sum(*[t.double() for t in tensors]).to(dtype)
    torch.testing.assert_close(rx.deconv_sum(*tensors), expected, **tolerance(dtype, shape[1]))


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_backward_agrees_with_reference(rng, shape, dtype, layout, activation):
    tensors = make(shape, rng, dtype=dtype, layout=layout)
    weight = torch.randn(tensors[3].shape, generator=rng)
    leaves = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    out = rx.deconv_sum(*leaves, activation=activation)
    (out.float() * weight).sum().backward()
    # the mask of the ReLU is that of the op's own output: at a rounded kink the reference may fall on the other side
    upstream = weight.to(dtype).double()
    if activation == "relu":
        upstream = upstream * (out.detach() > 0)
    wide = [t.detach().double().requires_grad_() for t in tensors]
    rx.reference.deconv_sum(*wide).backward(upstream)
    for leaf, other in zip(leaves, wide, strict=True):
        assert leaf.grad.dtype == dtype
        scale = float(other.grad.abs().max())
        eps = 1e-5 if dtype == torch.float32 else 2e-2  # sums over images and pixels; bfloat16 has 8 bits
        torch.testing.assert_close(leaf.grad.double(), other.grad, rtol=eps, atol=eps * scale)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_gradcheck(rng, layout, activation, bias):
    tensors = make((2, 3, 4, 2, 3, 1, 0), rng, dtype=torch.float64, layout=layout, bias=bias)
    if activation == "relu":  # away from the kink
        out = rx.reference.deconv_sum(*tensors)
        tensors[3] = tensors[3] + torch.where(out.abs() < 0.1, 0.5 * out.sign(), 0.0)
    leaves = [t if t is None else t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(lambda *t: rx.deconv_sum(*t, activation=activation), leaves)


@pytest.mark.parametrize("shape", [(1, 2, 64, 4, 9000, 0, 0), (5, 2, 64, 1, 9000, 1, 0)], ids=["lines", "images"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_columns_than_a_tile_holds(rng, shape, layout):
    tensors = make(shape, rng, layout=layout)
    leaves = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    copies = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    out, expected = rx.deconv_sum(*leaves), rx.reference.deconv_sum(*copies)
    torch.testing.assert_close(out, expected, **tolerance(torch.float32, shape[1]))
    upstream = torch.randn(expected.shape, generator=rng)
    out.backward(upstream)
    expected.backward(upstream)
    for leaf, copy in zip(leaves, copies, strict=True):
        scale = float(copy.grad.abs().max())
        torch.testing.assert_close(leaf.grad, copy.grad, rtol=1e-4, atol=1e-5 * scale)  # sums over 36,000 pixels


@pytest.mark.parametrize("wanted", range(4))
def test_gradient_of_one_input_alone(rng, wanted):
    tensors = make((2, 8, 8, 3, 5, 0, 0), rng)
    every = [t.clone().requires_grad_() for t in tensors]
    rx.deconv_sum(*every, activation="relu").square().sum().backward()
    tensors[wanted].requires_grad_()
    rx.deconv_sum(*tensors, activation="relu").square().sum().backward()
    assert [t.grad is not None for t in tensors] == [i == wanted for i in range(4)]
    torch.testing.assert_close(tensors[wanted].grad, every[wanted].grad)


def test_layout_of_the_result(rng):
    for layout, other in (("contiguous", "contiguous"), ("channels_last", "channels_last")):
        tensors = make((2, 8, 8, 3, 5, 0, 0), rng, layout=layout)
        assert rx.deconv_sum(*tensors).is_contiguous(memory_format=LAYOUTS[other])
    mixed = make((2, 8, 8, 3, 5, 0, 0), rng)
    expected = rx.deconv_sum(*mixed)
    mixed[3] = mixed[3].contiguous(memory_format=torch.channels_last)
    got = rx.deconv_sum(*mixed)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected)


def test_tensors_with_gaps(rng):
    tensors = make((2, 8, 8, 4, 5, 0, 1), rng)
    gaps = [torch.stack([t, t], dim=-1).flatten(-2)[..., ::2] for t in tensors]
    assert not gaps[0].is_contiguous()
    torch.testing.assert_close(rx.deconv_sum(*gaps), rx.deconv_sum(*tensors), rtol=0, atol=0)


# together on one tile after the other, or each on tiles of its own: 6 contiguous, 2 channels-last
@pytest.mark.parametrize("shape", [(3, 16, 16, 20, 20, 0, 0), (2, 24, 150, 17, 21, 1, 0)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_agree(rng, layout, shape):
    tensors = make(shape, rng, layout=layout)
    one, *more = with_threads(lambda: rx.deconv_sum(*tensors, activation="relu"), 1, 2, 3)
    for other in more:
        torch.testing.assert_close(one, other, **TOLERANCES[torch.float32])  # torch's product may split its sums


@pytest.mark.parametrize(
    "shape", [(0, 4, 4, 3, 3, 0, 0), (2, 4, 0, 3, 3, 0, 0), (2, 4, 4, 0, 3, 0, 0), (2, 0, 4, 2, 2, 0, 0)]
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_empty(rng, shape, layout):
    batch, ci, co, h, w, *_ = shape
    leaves = [
        torch.randn(batch, ci, h, w).contiguous(memory_format=LAYOUTS[layout]).requires_grad_(),
        torch.randn(ci, co, 2, 2).requires_grad_(),
        torch.randn(co).requires_grad_(),
        torch.randn(batch, co, 2 * h, 2 * w).contiguous(memory_format=LAYOUTS[layout]).requires_grad_(),
    ]
    out = rx.deconv_sum(*leaves, activation="relu")
    assert out.shape == leaves[3].shape
    expected = (leaves[3] + leaves[2][:, None, None]).relu()  # without input channels only these are left
    if ci == 0 or out.numel() == 0:
        torch.testing.assert_close(out, expected)
    out.sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_nan_and_infinity_go_through(rng):
    tensors = make((1, 2, 2, 2, 2, 0, 0), rng)
    tensors[3][0, 0, 0, 0] = math.nan
    tensors[3][0, 1, 1, 1] = math.inf
    tensors[3][0, 1, 2, 2] = -math.inf
    out = rx.deconv_sum(*tensors, activation="relu")
    assert out[0, 0, 0, 0].isnan() and out[0, 1, 1, 1] == math.inf and out[0, 1, 2, 2] == 0
    assert int(out.isnan().sum()) == 1


def test_is_the_tail_of_a_transfer_connection_block(rng):
    input, weight, bias, lateral = make((2, 8, 8, 5, 5, 0, 0), rng)
    expected = F.relu(F.conv_transpose2d(input, weight, bias, stride=2) + lateral)
    torch.testing.assert_close(
        rx.deconv_sum(input, weight, bias, lateral, activation="relu"), expected, **tolerance(torch.float32, 8)
    )


@pytest.mark.cpu_only
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("relu", [True, False])
def test_opcheck(rng, layout, relu):
    for shape, bias in (((2, 4, 6, 3, 2, 0, 1), True), ((1, 4, 4, 2, 2, 0, 0), False)):
        tensors = make(shape, rng, layout=layout, bias=bias)
        leaves = [t if t is None else t.requires_grad_() for t in tensors]
        torch.library.opcheck(OP, (*leaves, relu))
        plain = [t if t is None else t.detach() for t in tensors]
        out = OP(*plain, relu)
        arguments = (torch.ones_like(out), plain[0], plain[1], out if relu else None, True, True, bias, relu)
        torch.library.opcheck(BACKWARD, arguments)


@pytest.mark.cpu_only
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compile_and_export(rng, layout):
    class Module(torch.nn.Module):
        def forward(self, input, weight, bias, lateral):
            return rx.deconv_sum(input, weight, bias, lateral, activation="relu")

    tensors = make((2, 4, 4, 3, 3, 1, 1), rng, layout=layout)
    expected = Module()(*tensors)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*tensors), expected)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), tuple(tensors), dynamic_shapes=({0: batch}, {}, {}, {0: batch}))
    more = make((5, 4, 4, 3, 3, 1, 1), rng, layout=layout)
    torch.testing.assert_close(program.module()(*more), Module()(*more))


def test_autocast_lowers_all_inputs(rng):
    tensors = make((2, 8, 8, 3, 5, 0, 0), rng)
    leaves = [t.clone().requires_grad_() for t in tensors]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = rx.deconv_sum(leaves[0].bfloat16(), *leaves[1:], activation="relu")
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert all(leaf.grad.dtype == torch.float32 for leaf in leaves)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": torch.zeros(2, 4, 3)}, ValueError, r"input: expected shape \(B, Ci, H, W\), got \(2, 4, 3\)"),
        (
            {"weight": torch.zeros(4, 6, 3, 3)},
            ValueError,
            r"weight: expected shape \(Ci, Co, 2, 2\).*got \(4, 6, 3, 3\)",
        ),
        (
            {"weight": torch.zeros(5, 6, 2, 2)},
            ValueError,
            r"weight: expected shape .* with .*Ci = 4.*got \(5, 6, 2, 2\)",
        ),
        ({"bias": torch.zeros(5)}, ValueError, r"bias: expected shape \(Co,\) with Co = 6, got \(5,\)"),
        ({"lateral": torch.zeros(2, 6, 7, 6)}, ValueError, r"lateral: expected h = 6 or 5, .*got \(2, 6, 7, 6\)"),
        ({"lateral": torch.zeros(2, 6, 6, 4)}, ValueError, r"lateral: expected w = 6 or 5, .*got \(2, 6, 6, 4\)"),
        ({"lateral": torch.zeros(1, 6, 6, 6)}, ValueError, r"lateral: expected shape .*B = 2"),
        (
            {"lateral": torch.zeros(2, 6, 6, 6).double()},
            TypeError,
            "lateral: expected dtype torch.float32 as input has",
        ),
        ({"input": torch.zeros(2, 4, 3, 3).int()}, TypeError, "input: expected dtype float16.*got torch.int32"),
        ({"weight": None}, TypeError, "weight: expected a torch.Tensor, got NoneType"),
        ({"activation": "gelu"}, ValueError, "activation: expected one of 'none', 'relu', got 'gelu'"),
        ({"bias": torch.zeros(6, device="meta")}, ValueError, "bias: expected device cpu as input has, got meta"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "input": torch.zeros(2, 4, 3, 3),
        "weight": torch.zeros(4, 6, 2, 2),
        "bias": torch.zeros(6),
        "lateral": torch.zeros(2, 6, 6, 6),
    }
    with pytest.raises(error, match=message):
        rx.deconv_sum(**(arguments | change))


def test_op_itself_checks():
    with pytest.raises(RuntimeError, match="lateral"):
        OP(torch.zeros(2, 4, 3, 3), torch.zeros(4, 6, 2, 2), None, torch.zeros(2, 6, 9, 6), False)
    with pytest.raises(RuntimeError, match="weight"):
        OP(torch.zeros(2, 4, 3, 3), torch.zeros(4, 6, 3, 3), None, torch.zeros(2, 6, 6, 6), False)
