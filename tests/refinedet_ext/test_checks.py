from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch._dynamo.source import ConstantSource
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

from refinedet_ext import checks


@pytest.mark.parametrize(
    ("shape", "spec", "fits"),
    [
        ((3, 4), ("N", 4), True),
        ((3, 5), ("N", 4), False),
        ((3,), ("N", 4), False),
        ((2, 3, 4), ("...", 4), True),
        ((4,), ("...", 4), True),
        ((), ("...", 4), False),
        ((3, 3), ("N", "N"), True),
        ((3, 2), ("N", "N"), False),
        ((0, 4), ("N", 4), True),
    ],
)
@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_shapes(shape, spec, fits, make):
    if fits:
        checks.check_shape(make(shape), "boxes", spec, {})
    else:
        with pytest.raises(ValueError, match=r"boxes: expected shape \(.*\).*, got \("):
            checks.check_shape(make(shape), "boxes", spec, {})


def test_letters_mean_one_size_in_several_arrays():
    sizes: dict[str, int] = {}
    checks.check_shape(np.zeros((3, 4)), "boxes", ("N", 4), sizes)
    assert sizes == {"N": 3}
    with pytest.raises(ValueError, match=r"scores: expected shape \(N,\) with N = 3, got \(2,\)"):
        checks.check_shape(np.zeros(2), "scores", ("N",), sizes)


def test_what_has_no_shape():
    with pytest.raises(TypeError, match=r"boxes: expected an array of shape \(N, 4\), got list"):
        checks.check_shape([1, 2], "boxes", ("N", 4))


def test_dtypes():
    checks.check_dtype(torch.zeros(1, dtype=torch.int64), "labels", "int64")
    checks.check_dtype(np.zeros(1, np.int64), "labels", "int32", "int64")
    with pytest.raises(TypeError, match="labels: expected dtype int32 or int64, got float32"):
        checks.check_dtype(torch.zeros(1), "labels", "int32", "int64")
    with pytest.raises(TypeError, match="labels: expected an array of dtype int64, got list"):
        checks.check_dtype([1], "labels", "int64")
    with pytest.raises(TypeError, match="boxes: expected dtype float16, bfloat16, float32 or float64, got torch.int32"):
        checks.check_floating(torch.zeros(1, dtype=torch.int32), "boxes")
    with pytest.raises(TypeError, match="boxes: expected a torch.Tensor, got ndarray"):
        checks.check_floating(np.zeros(1), "boxes")


def test_devices():
    cpu, meta = torch.zeros(1), torch.zeros(1, device="meta")
    checks.check_same_device(boxes=cpu, scores=None, idxs=cpu)
    with pytest.raises(ValueError, match="idxs: expected device cpu as boxes has, got meta"):
        checks.check_same_device(boxes=cpu, scores=None, idxs=meta)


@pytest.mark.parametrize("kind", [float, int, np.float16, np.float32, np.float64, np.int64, np.uint8, Fraction])
def test_ranges_take_every_kind_of_number(kind):
    got = checks.check_range(kind(1), "theta", 0, 1)
    assert got == 1 and type(got) is float


@pytest.mark.parametrize("value", [True, "1", None, 1j, torch.tensor(1.0), np.ones(1), np.bool_(True), [1.0]])
def test_ranges_take_nothing_else(value):
    with pytest.raises(TypeError, match="theta: expected a number, got "):
        checks.check_range(value, "theta", 0, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, -math.inf, np.float32(2)])
def test_ranges_have_bounds(value):
    with pytest.raises(ValueError, match=r"theta: expected a number in \[0, 1\], got"):
        checks.check_range(value, "theta", 0, 1)


def test_an_open_bound():
    with pytest.raises(ValueError, match=r"sigma: expected a number in \(0, inf\], got 0"):
        checks.check_range(0, "sigma", 0, open_low=True)
    assert checks.check_range(1e-300, "sigma", 0, open_low=True) == 1e-300


def test_finite_numbers():
    assert checks.check_finite(3, "ratio", 0.0) == 3.0
    with pytest.raises(ValueError, match="ratio: expected a finite number, got inf"):
        checks.check_finite(math.inf, "ratio", 0.0)
    with pytest.raises(ValueError, match="ratio: expected a number in"):
        checks.check_finite(-1, "ratio", 0.0)


@pytest.mark.parametrize("kind", [int, np.int8, np.int64, np.uint32])
def test_counts_take_every_kind_of_whole_number(kind):
    got = checks.check_count(kind(3), "top_k", 1)
    assert got == 3 and type(got) is int
    assert checks.check_pair(kind(3), "stride", 1) == [3, 3]
    pair = checks.check_pair((kind(3), 1), "stride", 1)
    assert pair == [3, 1] and all(type(n) is int for n in pair)


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.float32(1), torch.tensor(1), np.bool_(True)])
def test_counts_take_nothing_else(value):
    with pytest.raises(TypeError, match="top_k: expected an int, got "):
        checks.check_count(value, "top_k", 1)
    with pytest.raises(TypeError, match="stride: expected an int"):
        checks.check_pair(value, "stride", 1)
    with pytest.raises(TypeError, match="stride: expected an int"):
        checks.check_pair((1, value), "stride", 1)


def test_counts_have_a_least():
    with pytest.raises(ValueError, match="top_k: expected at least 1, got 0"):
        checks.check_count(0, "top_k", 1)
    for value in (0, (1, 0)):
        with pytest.raises(ValueError, match="stride: expected at least 1, got 0"):
            checks.check_pair(value, "stride", 1)
    for value in ((1,), (1, 1, 1), {1, 2}):
        with pytest.raises(TypeError, match="stride: expected an int or a pair of ints, got "):
            checks.check_pair(value, "stride", 1)


def test_choices():
    assert checks.check_choice("hard", "method", ("hard", "linear")) == "hard"
    for wrong in ("soft", None, ["hard"], np.zeros(2)):
        with pytest.raises(ValueError, match="method: expected one of 'hard', 'linear', got "):
            checks.check_choice(wrong, "method", ("hard", "linear"))


def test_numbers_that_torch_compile_leaves_open_are_not_asked_for():
    env, source = ShapeEnv(), ConstantSource("ratio")
    symbol = env.create_unspecified_symbol(2.0, source=source, dynamic_dim=DimDynamic.DYNAMIC)
    number = env.create_symfloatnode(symbol, hint=2.0, source=source)
    assert isinstance(number, torch.SymFloat)
    assert checks.check_range(number, "ratio", 0, 1) is number  # beyond the range, which only a guard could tell
    assert checks.check_finite(number, "ratio", 0) is number
    assert not env.guards


@pytest.mark.parametrize("values", [{1: 0.1, 2: 0.1, 3: 0.2, 4: 0.2}, b"abcd", bytearray(4), "abcd", {1, 2, 3, 4}])
def test_variances_are_a_sequence_of_numbers(values):
    with pytest.raises(TypeError, match="variances: expected 4 values"):
        checks.check_variances(values)


def test_an_array_where_a_tensor_belongs_is_named():
    with pytest.raises(TypeError, match="labels: expected a torch.Tensor, got ndarray"):
        checks.check_same_device(logits=torch.zeros(2), labels=np.zeros(2))
