"""On a GPU the ops that stand for a convolution round float32 to TF32 where torch's convolutions do, and only there."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx
from refinedet_ext import _library

from .deform_inputs import make

SETTERS = {
    "cudnn.allow_tf32": lambda on: setattr(torch.backends.cudnn, "allow_tf32", on),
    "cudnn.conv": lambda on: setattr(torch.backends.cudnn.conv, "fp32_precision", "tf32" if on else "ieee"),
}


@pytest.fixture(params=SETTERS)
def allow_tf32(request) -> Iterator[Callable[[bool], None]]:
    """Switches it on or off, by the one way to say it or by the other; neither warns."""
    before = torch.backends.cudnn.allow_tf32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield SETTERS[request.param]
    torch.backends.cudnn.allow_tf32 = before


def deform_align(rng, dtype):
    inputs = make(rng, channels=48, out_channels=32, groups=2, dtype=dtype, map_dtype=torch.float32)
    return inputs.tensors(), lambda module, tensors: inputs.map(lambda name, _: tensors[name])(module.deform_align)


def deconv_sum(rng, dtype):
    shapes = {"input": (2, 40, 5, 7), "weight": (40, 24, 2, 2), "bias": (24,), "lateral": (2, 24, 10, 13)}
    tensors = {name: torch.randn(shape, generator=rng).to(dtype) for name, shape in shapes.items()}
    return tensors, lambda module, tensors: module.deconv_sum(**tensors)


def deconv_sum_channels_last(rng, dtype):
    """Which the GPU's kernel multiplies itself."""
    tensors, call = deconv_sum(rng, dtype)
    for name in ("input", "weight", "lateral"):
        tensors[name] = tensors[name].contiguous(memory_format=torch.channels_last)
    return tensors, call


every_op = pytest.mark.parametrize("problem", [deform_align, deconv_sum, deconv_sum_channels_last])


def results(call, module, tensors: dict[str, Tensor]) -> list[Tensor]:
    """The op's result and the gradients of what it multiplies."""
    leaves = {name: t.detach().clone().requires_grad_() for name, t in tensors.items()}
    out = call(module, leaves)
    upstream = torch.linspace(-1, 1, out.numel()).reshape(out.shape).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, [leaves["input"], leaves["weight"]], upstream)]


@every_op
def test_float32_is_rounded_to_tf32_where_convolutions_are(rng, kernels, problem, allow_tf32):
    tensors, call = problem(rng, torch.float32)
    expected = results(call, rx.reference, {name: t.double() for name, t in tensors.items()})
    for on in (True, False, True):
        allow_tf32(on)
        for got, exact in zip(results(call, rx, tensors), expected, strict=True):
            error = ((got - exact).abs().max() / exact.abs().max()).item()
            # TF32 keeps ten bits of a factor's fraction; sums of some hundred products are off by less than one of them
            low, high = (3e-5, 3e-3) if on and kernels == "cuda" else (0.0, 1e-5)
            assert low <= error <= high


@every_op
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_do_not_change(rng, problem, dtype):
    tensors, call = problem(rng, dtype)
    before = torch.backends.cudnn.allow_tf32
    both = []
    for torch.backends.cudnn.allow_tf32 in (True, False):
        both.append(call(rx, tensors))
    torch.backends.cudnn.allow_tf32 = before
    assert torch.equal(*both)


@pytest.mark.cpu_only
def test_the_kernels_hear_of_every_change(allow_tf32):
    for on in (True, False, True):
        allow_tf32(on)
        assert _library.convolutions_use_tf32() is torch.ops.refinedet_ext._convolutions_use_tf32() is on


@pytest.mark.cpu_only
def test_the_precision_of_matrix_products_does_not_decide():
    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        assert not torch.ops.refinedet_ext._convolutions_use_tf32()
    finally:
        torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before


@pytest.mark.cpu_only
def test_without_the_python_package_there_is_no_tf32():
    """As in a C++ program: the compiled ops alone cannot ask torch, and do without."""
    code = (
        f"import torch; torch.ops.load_library({str(_library.PATH)!r}); "
        "print(torch.ops.refinedet_ext._convolutions_use_tf32())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr
