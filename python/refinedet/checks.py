"""Checks of options, in the order of `refinedet_ext.checks`: value, name, what is expected.

Options come from Python, YAML, model files and the command line alike, so that a value of the wrong kind is a wrong
value: all of these raise ValueError. Those of tensors and arrays are `refinedet_ext.checks`' own.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

from refinedet_ext.checks import check_shape

__all__ = ["check_choice", "check_integer", "check_range", "check_shape", "check_std"]


def check_choice(value: object, name: str, choices: Sequence[object]) -> None:
    """ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {list(choices)}, got {value!r}")


def check_range(value: Any, name: str, low: float, high: float) -> float:
    """The number, Python's own; ValueError unless it is one (of any kind, NumPy's too) from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not low <= float(value) <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value!r}")
    return float(value)


def check_integer(value: Any, name: str, least: int) -> int:
    """The integer, Python's own; ValueError unless it is one (of any kind, NumPy's too) of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    return int(value)


def check_std(value: Any, name: str) -> None:
    """ValueError unless `value` can be a standard deviation of first weights; None is some other way to make them."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) >= 0:
        raise ValueError(f"{name}: expected a number of at least 0 or None, got {value!r}")
