from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx  # noqa: F401  (brings the op)

from ..threads import with_threads

pytestmark = pytest.mark.cpu_only

BACKWARD = torch.ops.refinedet_ext._depthwise_conv2d_backward.default
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# relative, in the norm: sums in another order, or one rounding at the end
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 1e-3, torch.bfloat16: 5e-3}

# batch, channels, height, width
SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 5, 4),  # fewer channels than a register has lanes
    (3, 8, 9, 12),
    (1, 17, 13, 7),  # one more
    (2, 24, 20, 23),
    (2, 40, 3, 50),
    (1, 150, 31, 30),
    (1, 64, 90, 90),  # several strips
]


def make(shape, kernel, stride, padding, rng, dtype=torch.float32):
    """grad, input, weight; the padding goes around all sides."""
    batch, channels, height, width = shape
    out = [(size + 2 * padding - kernel) // stride + 1 for size in (height, width)]
    grad = torch.randn(batch, channels, *out, generator=rng)
    input = torch.randn(shape, generator=rng)
    weight = torch.randn(channels, 1, kernel, kernel, generator=rng)
    last = torch.channels_last
    return (
        grad.to(dtype).contiguous(memory_format=last),
        input.to(dtype).contiguous(memory_format=last),
        weight.to(dtype),
    )


def expected(grad, input, weight, stride, cells):
    """By torch's autograd in float64."""
    input, weight = (t.detach().double().requires_grad_() for t in (input, weight))
    out = F.conv2d(F.pad(input, cells), weight, None, stride, groups=input.shape[1])
    return torch.autograd.grad(out, (input, weight), grad.double())


def check(got, wanted, dtype):
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == dtype
        assert float((a.double() - b).norm()) <= TOLERANCES[dtype] * max(float(b.norm()), 1e-30)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_against_autograd(kernel, stride, dtype, rng):
    tried = 0
    for shape in SHAPES:
        for padding in {0, kernel // 2, kernel + 1}:
            if min(shape[2:]) + 2 * padding < kernel:
                continue
            grad, input, weight = make(shape, kernel, stride, padding, rng, dtype)
            got = BACKWARD(grad, input, weight, stride, (padding, padding), True, True)
            assert got[0].is_contiguous(memory_format=torch.channels_last) and got[1].is_contiguous()
            check(got, expected(grad, input, weight, stride, (padding,) * 4), dtype)
            tried += 1
    assert tried >= len(SHAPES)


@pytest.mark.parametrize("cells", [(0, 1, 0, 1), (1, 2, 2, 0), (2, 0, 0, 3), (0, 4, 5, 4)])
def test_padding_that_differs_from_side_to_side(cells, rng):
    left, right, top, bottom = cells
    input, weight = torch.randn(2, 20, 9, 8, generator=rng), torch.randn(20, 1, 3, 3, generator=rng)
    grad = torch.randn_like(F.conv2d(F.pad(input, cells), weight, None, 2, groups=20))
    got = BACKWARD(grad, input, weight, 2, (top, left), True, True)
    check(got, expected(grad, input, weight, 2, cells), torch.float32)


def test_layouts(rng):
    """Any strides, of all three."""
    grad, input, weight = make((2, 24, 9, 11), 3, 1, 1, rng)
    wanted = BACKWARD(grad, input, weight, 1, (1, 1), True, True)
    variants = {
        "contiguous": lambda t: t.contiguous(),
        "gaps": lambda t: torch.stack([t, t], dim=-1)[..., 0],
        "transposed": lambda t: t.transpose(2, 3).contiguous().transpose(2, 3),
        "offset": lambda t: torch.cat([t[:1], t])[1:],
    }
    for change in variants.values():
        for a, b in zip(
            BACKWARD(change(grad), change(input), change(weight), 1, (1, 1), True, True), wanted, strict=True
        ):
            assert torch.equal(a, b)
    one = torch.ones(()).expand(grad.shape)  # as the gradient of a sum
    for a, b in zip(
        BACKWARD(one, input, weight, 1, (1, 1), True, True),
        BACKWARD(one.contiguous(), input, weight, 1, (1, 1), True, True),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_and_several_threads_give_the_same_bits(dtype, rng):
    for shape in ((5, 40, 20, 20), (1, 64, 90, 90)):
        grad, input, weight = make(shape, 5, 1, 2, rng, dtype)
        one, *others = with_threads(lambda: BACKWARD(grad, input, weight, 1, (2, 2), True, True), 1, 2, 3, 7)  # noqa: B023
        assert all(torch.equal(a, b) for other in others for a, b in zip(one, other, strict=True))


def test_only_what_is_wanted(rng):
    grad, input, weight = make((2, 16, 7, 7), 3, 2, 1, rng)
    both = BACKWARD(grad, input, weight, 2, (1, 1), True, True)
    for want in ((True, False), (False, True), (False, False)):
        got = BACKWARD(grad, input, weight, 2, (1, 1), *want)
        for wanted, a, b in zip(want, got, both, strict=True):
            assert torch.equal(a, b) if wanted else a.shape == (0,)


@pytest.mark.parametrize("shape", [(0, 8, 5, 5), (2, 0, 5, 5)])
def test_empty(shape, rng):
    grad, input, weight = make(shape, 3, 1, 1, rng)
    got = BACKWARD(grad, input, weight, 1, (1, 1), True, True)
    assert got[0].shape == input.shape and got[1].shape == weight.shape
    assert not got[1].any()


def test_no_output_pixels(rng):
    """A map smaller than the kernel: nothing depends on it."""
    input, weight = torch.randn(1, 8, 2, 5, generator=rng), torch.randn(8, 1, 3, 3, generator=rng)
    got = BACKWARD(torch.empty(1, 8, 0, 3), input, weight, 1, (0, 0), True, True)
    assert got[0].shape == input.shape and not got[0].any() and not got[1].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_does_not_fit_is_infinite(dtype):
    """So that a loss scaler sees it."""
    large = torch.full((1, 16, 3, 3), torch.finfo(dtype).max, dtype=dtype)
    weight = torch.ones(16, 1, 1, 1, dtype=dtype)
    grad_input, grad_weight = BACKWARD(large, torch.ones_like(large), weight * 2, 1, (0, 0), True, True)
    assert torch.isposinf(grad_input).all() and torch.isposinf(grad_weight).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [5, 40])
def test_nan_stays_in_its_channel(dtype, channels, rng):
    grad, input, weight = make((1, channels, 6, 6), 3, 1, 1, rng, dtype)
    grad[0, 3, 2, 2] = float("nan")
    grad_input, grad_weight = BACKWARD(grad, input, weight, 1, (1, 1), True, True)
    where = torch.zeros(1, channels, 6, 6, dtype=torch.bool)
    where[0, 3, 1:4, 1:4] = True
    assert torch.equal(grad_input.isnan(), where)
    assert torch.equal(grad_weight.isnan().flatten(1).all(1), torch.arange(channels) == 3)


def test_wrong_arguments(rng):
    grad, input, weight = make((2, 8, 5, 5), 3, 1, 1, rng)
    wrong = [
        ((grad, input[0], weight, 1, (1, 1)), r"input: expected shape \(B, C, H, W\), got \(8, 5, 5\)"),
        ((grad, input, weight[:4], 1, (1, 1)), r"weight: expected shape \(8, 1, 3, 3\), got \(4, 1, 3, 3\)"),
        ((grad, input, weight[..., :2], 1, (1, 1)), r"weight: expected shape \(8, 1, 3, 3\), got \(8, 1, 3, 2\)"),
        ((grad, input, weight.double(), 1, (1, 1)), "weight: expected dtype Float, got Double"),
        ((grad[:1], input, weight, 1, (1, 1)), r"grad: expected shape \(2, 8, Ho, Wo\), got \(1, 8, 5, 5\)"),
        ((grad.half(), input, weight, 1, (1, 1)), "grad: expected dtype Float, got Half"),
        ((grad, input, weight, 0, (1, 1)), "stride: expected at least 1, got 0"),
        ((grad, input, weight, 1, (1,)), "padding: expected two numbers from 0 on"),
        ((grad, input, weight, 1, (1, -1)), "padding: expected two numbers from 0 on"),
    ]
    for arguments, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            BACKWARD(*arguments, True, True)
    integers = torch.ones(1, 8, 5, 5, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="input: expected a floating dtype, got Long"):
        BACKWARD(integers, integers, weight.long(), 1, (1, 1), True, True)


@pytest.mark.parametrize("want", [(True, True), (True, False), (False, True)])
def test_opcheck(want, rng):
    grad, input, weight = make((2, 8, 5, 6), 3, 2, 1, rng)
    torch.library.opcheck(BACKWARD, (grad, input, weight, 2, (1, 1), *want))


def test_vmap(rng):
    grad, input, weight = make((6, 8, 5, 6), 3, 2, 1, rng)
    calls = grad.unflatten(0, (3, 2)), input.unflatten(0, (3, 2))
    grad_input, grad_weight = torch.vmap(lambda g, x: BACKWARD(g, x, weight, 2, (1, 1), True, True))(*calls)
    each = [BACKWARD(g, x, weight, 2, (1, 1), True, True) for g, x in zip(*calls, strict=True)]
    assert torch.equal(grad_input, torch.stack([a for a, _ in each]))
    assert torch.equal(grad_weight, torch.stack([b for _, b in each]))
