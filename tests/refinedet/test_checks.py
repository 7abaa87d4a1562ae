from __future__ import annotations

import json
import math

import numpy as np
import pytest

import refinedet
import refinedet_ext.checks
from refinedet import checks


def test_shapes_are_checked_as_the_ops_check_theirs():
    assert checks.check_shape is refinedet_ext.checks.check_shape


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_of_every_kind_become_pythons(value):
    assert type(checks.check_integer(value, "n", 1)) is int and type(checks.check_range(value, "n", 0, 5)) is float


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), 1, True, "1", None, math.nan, [1]])
def test_what_is_no_integer_of_at_least_two_is_named(value):
    with pytest.raises(ValueError, match=r"n: expected an integer of at least 2, got"):
        checks.check_integer(value, "n", 2)


@pytest.mark.parametrize("value", [1.5, -1, math.nan, True, "1", None])
def test_what_is_no_number_within_the_range_is_named(value):
    with pytest.raises(ValueError, match="x: expected a number from 0 to 1, got"):
        checks.check_range(value, "x", 0, 1)


@pytest.mark.parametrize("value", [-0.1, math.nan, "0.1", False])
def test_what_is_no_standard_deviation_is_named(value):
    with pytest.raises(ValueError, match="std: expected a number of at least 0 or None, got"):
        checks.check_std(value, "std")
    checks.check_std(None, "std"), checks.check_std(0, "std"), checks.check_std(np.float32(0.01), "std")


def test_choices_are_listed():
    checks.check_choice("a", "name", ("a", "b"))
    with pytest.raises(ValueError, match=r"name: expected one of \['a', 'b'\], got 'c'"):
        checks.check_choice("c", "name", ("a", "b"))


def test_options_of_a_model_may_be_numpys(tmp_path):
    options = {
        "input_size": np.int64(64),
        "tcb_channels": np.int32(8),
        "theta": np.float32(0.5),
        "anchor_sizes": np.array([16, 32, 64, 128]),
        "class_weights": np.array([1, 2, 3], np.float32),
        "min_negatives": np.int64(2),
    }
    model = refinedet.create_model("refinedet192_small", np.int64(4), **options)
    assert json.loads(json.dumps(model.spec.options)) == model.spec.options
    file = refinedet.save_model(model, tmp_path / "m.safetensors")
    assert refinedet.load_model(file).model.config == model.config


@pytest.mark.parametrize("value", [3, None, "12", (1, "a"), (1, math.nan), (True, 1), (1, 2, 3), ()])
def test_what_is_no_pair_of_numbers_is_named(value):
    with pytest.raises(ValueError, match="pair: expected 2 finite numbers, got"):
        checks.check_numbers(value, "pair", 2)
    checks.check_numbers((1, 2.5), "pair", 2), checks.check_numbers([], "some")


def test_numbers_that_must_be_positive():
    with pytest.raises(ValueError, match="some: expected positive numbers, got"):
        checks.check_numbers((1, 0), "some", positive=True)


def test_integers_that_no_tensor_holds_are_refused():
    with pytest.raises(ValueError, match="n: expected an integer of at most 9223372036854775807, got"):
        checks.check_integer(2**63, "n", 1)
    with pytest.raises(ValueError, match="n: expected an integer of at most 5, got 6"):
        checks.check_integer(6, "n", 1, 5)
