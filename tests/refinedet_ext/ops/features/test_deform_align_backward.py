from __future__ import annotations

import math
import re

import pytest
import torch

import refinedet_ext as rx

from .deform_inputs import CASES, Inputs, assert_near, make

BACKWARD = torch.ops.refinedet_ext._deform_align_backward.default
ORDER = ("input", "weight", "offset", "center", "mask", "bias")
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
LAYOUTS = [torch.contiguous_format, torch.channels_last]

every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: str(f)[6:])


def gradients(inputs: Inputs, grad, function=None) -> dict[str, torch.Tensor]:
    leaves = inputs.leaves()
    out = leaves(function)
    return dict(zip(leaves.tensors(), torch.autograd.grad(out, list(leaves.tensors().values()), grad), strict=True))


def grad_of(inputs: Inputs, rng, layout=torch.contiguous_format):
    out = inputs()
    return torch.randn(out.shape, generator=rng).to(out.dtype).contiguous(memory_format=layout)


@every_layout
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_reference(rng, case, dtype, layout):
    # positions off the grid need float32 offsets: bfloat16 would round them onto it
    map_dtype = torch.promote_types(dtype, torch.float32)
    inputs = make(rng, dtype=dtype, map_dtype=map_dtype, layout=layout, **CASES[case])
    grad = grad_of(inputs, rng, layout)
    expected = gradients(inputs.double(), grad.double(), rx.reference.deform_align)
    for name, got in gradients(inputs, grad).items():
        assert got.dtype == getattr(inputs, name).dtype
        assert_near(got, expected[name], dtype, name)
        if name == "input":
            assert got.is_contiguous(memory_format=layout)


# what is differentiated together: every argument in some company, and groups, offset groups, strides
CHECKED = {
    "all": {"channels": 4, "out_channels": 2, "size": (3, 4)},
    "offset alone": {"channels": 2, "out_channels": 3, "size": (4, 3), "maps": "offset", "bias": False},
    "center alone": {"channels": 4, "out_channels": 2, "size": (3, 3), "maps": "center", "offset_groups": 2},
    "mask alone": {"channels": 4, "out_channels": 2, "size": (3, 3), "maps": "mask", "offset_groups": 4},
    "center and mask": {"channels": 3, "out_channels": 2, "size": (3, 3), "maps": "center mask", "kernel": (2, 3)},
    "groups": {"channels": 6, "out_channels": 4, "groups": 2, "offset_groups": 3, "size": (3, 3), "kernel": (1, 2)},
    "steps": {
        "channels": 2,
        "out_channels": 2,
        "size": (6, 5),
        "stride": (2, 1),
        "dilation": (2, 1),
        "padding": (2, 0),
    },
    "no maps": {"channels": 2, "out_channels": 2, "size": (3, 3), "maps": ""},
}


@every_layout
@pytest.mark.parametrize("case", CHECKED)
def test_gradcheck(rng, case, layout):
    options = {"batch": 2, "spread": 0.6, "dtype": torch.float64} | CHECKED[case]
    inputs = make(rng, layout=layout, **options).leaves()
    names = list(inputs.tensors())

    def call(*tensors):
        return inputs.map(lambda name, _: tensors[names.index(name)])()

    assert torch.autograd.gradcheck(call, tuple(inputs.tensors().values()))


@pytest.mark.parametrize("wanted", ["input", "weight", "offset", "center", "mask", "bias", "input weight", "mask bias"])
def test_only_what_is_wanted_and_the_same(rng, wanted):
    inputs = make(rng, channels=20, offset_groups=2, batch=3)
    grad = grad_of(inputs, rng)
    every = gradients(inputs, grad)
    chosen = wanted.split()
    some = inputs.map(lambda name, t: t.detach().requires_grad_(name in chosen))
    for name, got in zip(chosen, torch.autograd.grad(some(), [getattr(some, n) for n in chosen], grad), strict=True):
        torch.testing.assert_close(got, every[name], rtol=1e-6, atol=1e-6)
    steps = [list(step) for step in inputs.steps.values()]
    tensors = [getattr(inputs, name) for name in ORDER[:5]]
    results = BACKWARD(grad, *tensors, *steps, [name in chosen for name in ORDER])
    for name, result in zip(ORDER, results, strict=True):
        assert (result.numel() > 0) == (name in chosen)


@every_layout
def test_positions_outside_and_not_finite_get_none(rng, layout):
    inputs = make(rng, batch=1, channels=3, size=(4, 4), maps="offset mask", layout=layout)
    for tap, value in enumerate((math.nan, math.inf, -math.inf, 1e30, -1e9, 50.0)):
        inputs.offset[0, 2 * tap + tap % 2] = value
    got = gradients(inputs, grad_of(inputs, rng))
    assert all(gradient.isfinite().all() for gradient in got.values())
    assert got["offset"][0, :12].eq(0).all() and got["mask"][0, :6].eq(0).all()
    assert got["weight"].flatten(2)[:, :, :6].eq(0).all()
    assert got["offset"][0, 12:].ne(0).any() and got["weight"].flatten(2)[:, :, 6:].ne(0).any()


def test_at_whole_pixels_towards_larger_coordinates():
    image = torch.tensor([1.0, 3.0, 10.0]).reshape(1, 1, 1, 3)
    center = torch.zeros(1, 2, 1, 3, requires_grad=True)
    rx.deform_align(image, None, torch.ones(1, 1, 1, 1), center=center).sum().backward()
    assert center.grad[0, 1].flatten().tolist() == [2.0, 7.0, -10.0]
    assert center.grad[0, 0].flatten().tolist() == [-1.0, -3.0, -10.0]


def test_layout_of_the_incoming_gradient(rng):
    inputs = make(rng, batch=2, channels=9, out_channels=5)
    grad = grad_of(inputs, rng)
    expected = gradients(inputs, grad)
    strided = torch.stack([grad, grad], dim=-1)[..., 0]
    for same in (grad.contiguous(memory_format=torch.channels_last), strided):
        for name, got in gradients(inputs, same).items():
            torch.testing.assert_close(got, expected[name], rtol=1e-6, atol=1e-6)
    ones = torch.ones_like(grad)
    for name, got in gradients(inputs, torch.ones(()).expand_as(grad)).items():
        torch.testing.assert_close(got, gradients(inputs, ones)[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["plain", "groups", "more offset groups"])
def test_weights_in_channels_last(rng, case):
    inputs = make(rng, **CASES[case])
    grad = grad_of(inputs, rng)
    out, expected = inputs(), gradients(inputs, grad)
    inputs.weight = inputs.weight.contiguous(memory_format=torch.channels_last)
    assert not inputs.weight.is_contiguous()
    assert torch.equal(inputs(), out)
    for name, got in gradients(inputs, grad).items():
        assert torch.equal(got, expected[name]), name
        if name == "weight":
            assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("groups", "dtype"), [(1, torch.float32), (2, torch.float32), (1, torch.bfloat16)])
def test_large_contiguous_image_is_taken_by_channels(rng, groups, dtype):
    inputs = make(
        rng,
        batch=1,
        channels=1400,
        size=(64, 64),
        out_channels=2,
        kernel=(1, 2),
        stride=(9, 9),
        groups=groups,
        dtype=dtype,
        map_dtype=torch.float32,
    )
    grad = grad_of(inputs, rng)
    expected = gradients(inputs.double(), grad.double(), rx.reference.deform_align)
    for name, got in gradients(inputs, grad).items():
        assert_near(got, expected[name], dtype, name)


@every_layout
def test_large_batch_is_taken_by_images_and_tiles(rng, layout, kernels):
    # 26 MB an image, 75 MB of columns: on a GPU more than is copied, and more than is multiplied, at once
    if kernels == "cpu":
        pytest.skip("smaller inputs show it on the CPU")
    inputs = make(
        rng, batch=3, channels=640, size=(100, 100), out_channels=2, stride=(3, 3), maps="offset", layout=layout
    )
    got, exact = inputs.leaves(), inputs.double().leaves()
    out, expected = got(), exact(rx.reference.deform_align)
    assert_near(out.detach(), expected.detach(), torch.float32)
    grad = torch.randn(out.shape, generator=rng)
    out.backward(grad)
    expected.backward(grad.double())
    for name, leaf in got.tensors().items():
        assert_near(leaf.grad, getattr(exact, name).grad, torch.float32, name)


@every_layout
def test_threads_give_the_same_bits(rng, layout):
    # whole numbers and quarters: every sum is exact, in whatever order the products take them
    inputs = make(rng, channels=40, size=(20, 20), out_channels=24, layout=layout)
    inputs = inputs.map(lambda n, t: (t * 4).round() / 4 if n in ("offset", "center", "mask") else t.round())
    grad = grad_of(inputs, rng).round()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(gradients(inputs, grad))
    finally:
        torch.set_num_threads(before)
    for name, one in results[0].items():
        assert torch.equal(one, results[1][name]) and torch.equal(one, results[2][name]), name


@pytest.fixture
def deterministic(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch's products ask for it on a GPU
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@every_layout
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("case", ["plain", "groups", "padet"])
def test_deterministic(rng, deterministic, case, dtype, layout):
    inputs = make(rng, dtype=dtype, map_dtype=torch.promote_types(dtype, torch.float32), layout=layout, **CASES[case])
    grad = grad_of(inputs, rng, layout)
    got, again = gradients(inputs, grad), gradients(inputs, grad)
    expected = gradients(inputs.double(), grad.double(), rx.reference.deform_align)
    for name, gradient in got.items():
        assert torch.equal(gradient, again[name]), name
        assert_near(gradient, expected[name], dtype, name)


def test_deterministic_gradient_that_is_not_finite(rng, deterministic):
    inputs = make(rng, maps="offset")
    grad = grad_of(inputs, rng)
    grad[0, 0, 3, 3] = math.inf
    assert not gradients(inputs, grad)["input"].isfinite().all()


def test_float16_gradient_overflows_to_infinity():
    image = torch.full((1, 2, 1, 1), 4.0, dtype=torch.float16, requires_grad=True)
    weight = torch.full((1, 2, 1, 1), 2.0, dtype=torch.float16, requires_grad=True)
    rx.deform_align(image, None, weight).backward(torch.full((1, 1, 1, 1), -6e4, dtype=torch.float16))
    assert image.grad.eq(-math.inf).all() and weight.grad.eq(-math.inf).all()


@every_layout
@pytest.mark.parametrize(("batch", "out_channels", "height"), [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
def test_empty(rng, layout, batch, out_channels, height):
    image = torch.ones(batch, 2, height, 3).contiguous(memory_format=layout).requires_grad_()
    weight = torch.ones(out_channels, 2, 1, 1, requires_grad=True)
    bias = torch.ones(out_channels, requires_grad=True)
    center = torch.zeros(batch, 2, height, 3, requires_grad=True)
    rx.deform_align(image, None, weight, bias, center=center).sum().backward()
    for leaf in (image, weight, bias, center):
        assert leaf.grad.shape == leaf.shape and leaf.grad.eq(0).all()


def test_no_pixels_but_padding():
    image = torch.ones(1, 2, 0, 3, requires_grad=True)
    weight, bias = torch.ones(1, 2, 1, 1, requires_grad=True), torch.ones(1, requires_grad=True)
    rx.deform_align(image, None, weight, bias, padding=1).sum().backward()
    assert image.grad.shape == image.shape and weight.grad.eq(0).all() and bias.grad.item() == 10


@every_layout
@pytest.mark.cpu_only
@pytest.mark.parametrize("wanted", [ORDER, ("input", "center"), ("weight", "bias")])
def test_opcheck(rng, layout, wanted):
    inputs = make(rng, layout=layout, offset_groups=2)
    inputs.weight = inputs.weight.contiguous(memory_format=layout)
    tensors = [getattr(inputs, name) for name in ORDER[:5]]
    steps = [list(step) for step in inputs.steps.values()]
    torch.library.opcheck(BACKWARD, (grad_of(inputs, rng), *tensors, *steps, [n in wanted for n in ORDER]))


def test_autocast(rng):
    inputs = make(rng).leaves()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = inputs()
    out.float().square().sum().backward()
    assert all(leaf.grad.dtype == torch.float32 for leaf in inputs.tensors().values())
    low = inputs.map(lambda n, t: t.detach().bfloat16() if n in ("input", "weight", "bias") else t.detach()).leaves()
    low().float().square().sum().backward()
    for name, leaf in inputs.tensors().items():
        assert torch.equal(leaf.grad, getattr(low, name).grad.float()), name


def test_second_derivative_is_refused(rng):
    inputs = make(rng).leaves()
    (gradient,) = torch.autograd.grad(inputs().square().sum(), inputs.input, create_graph=True)
    with pytest.raises(RuntimeError, match="deform_align: a second derivative is not available"):
        gradient.sum().backward()


def test_op_itself_checks(rng):
    inputs = make(rng, maps="offset")
    tensors = [getattr(inputs, name) for name in ORDER[:5]]
    steps = [list(step) for step in inputs.steps.values()]
    grad = grad_of(inputs, rng)
    with pytest.raises(RuntimeError, match=rf"grad: expected shape {re.escape(str(tuple(grad.shape)))}, got"):
        BACKWARD(grad[1:], *tensors, *steps, [True] * 3 + [False] * 3)
    with pytest.raises(RuntimeError, match="grad: expected dtype Float, got Double"):
        BACKWARD(grad.double(), *tensors, *steps, [True] * 3 + [False] * 3)
    with pytest.raises(RuntimeError, match="output_mask: expected 6 values, got 5"):
        BACKWARD(grad, *tensors, *steps, [True] * 5)
    with pytest.raises(RuntimeError, match="output_mask: a gradient is wanted of an argument that was not given"):
        BACKWARD(grad, *tensors, *steps, [True] * 6)
