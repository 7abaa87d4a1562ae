"""Checks of options, in the order of `refinedet_ext.checks`: value, name, what is expected.

Options come from Python, YAML, model files and the command line alike, so that a value of the wrong kind is a wrong
value: these raise ValueError, but for names of classes that are no strings. Those of tensors and arrays are
`refinedet_ext.checks`' own.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Sequence
from typing import Any

from refinedet_ext.checks import check_shape

__all__ = [
    "MAX_SIDE",
    "check_choice",
    "check_class_names",
    "check_integer",
    "check_names",
    "check_numbers",
    "check_positive",
    "check_range",
    "check_shape",
    "check_std",
    "is_text",
]

INT64 = 2**63 - 1
MAX_SIDE = 16_384
"""Of a network's input, in pixels: as many pixels as an image may have."""


def check_choice(value: object, name: str, choices: Sequence[object]) -> None:
    """ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {list(choices)}, got {value!r}")


def check_range(value: Any, name: str, low: float, high: float) -> float:
    """The number, Python's own; ValueError unless it is one (of any kind, NumPy's too) from `low` to `high`."""
    number = _float(value)
    if not low <= number <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value!r}")
    return number


def check_positive(value: Any, name: str) -> float:
    """The number, Python's own; ValueError unless it is one (of any kind, NumPy's too) above 0 and finite."""
    number = _float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return number


def check_integer(value: Any, name: str, least: int, most: int = INT64) -> int:
    """The integer, Python's own; ValueError unless it is one (of any kind, NumPy's too) from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    if int(value) > most:
        raise ValueError(f"{name}: expected an integer of at most {most}, got {value!r}")
    return int(value)


def check_numbers(value: Any, name: str, count: int | None = None, *, positive: bool = False) -> None:
    """ValueError unless `value` is a sequence of finite numbers: `count` of them, where that is given."""
    fits = isinstance(value, (list, tuple)) and count in (None, len(value))
    if not fits or not all(_is_finite(number) and (number > 0 or not positive) for number in value):
        what = f"{'' if count is None else f'{count} '}{'positive' if positive else 'finite'} numbers"
        raise ValueError(f"{name}: expected {what}, got {value!r}")


def check_class_names(classes: Sequence[str], name: str = "classes") -> list[str]:
    """The class names as a list. TypeError or ValueError: no strings, none, or one twice."""
    if isinstance(classes, str):
        raise TypeError(f"{name}: expected a list of names, got the string {classes!r}")
    names = list(classes)
    if not names:
        raise ValueError(f"{name}: expected at least one name, got none")
    for one in names:
        if not isinstance(one, str):
            raise TypeError(f"{name}: expected names, got {one!r}")
        if not one:
            raise ValueError(f"{name}: expected names, got an empty one")
        if not is_text(one):
            raise ValueError(f"{name}: expected names, got half a character in {one!r}")
    twice = sorted(one for one, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(f"{name}: expected distinct names, got {twice[0]!r} twice")
    return names


def check_names(class_names: Sequence[str], num_classes: int) -> list[str]:
    """The names of the foreground classes as a list; ValueError unless there is one for each."""
    count = len(class_names)
    if count != num_classes - 1:
        raise ValueError(f"class_names: expected {num_classes - 1} names, one per foreground class, got {count}")
    return list(class_names)


def is_text(value: str) -> bool:
    """False for halves of characters (surrogates), which JSON can spell but no file can hold."""
    return not any("\ud800" <= char <= "\udfff" for char in value)


def check_std(value: Any, name: str) -> None:
    """ValueError unless `value` can be a standard deviation of first weights; None is some other way to make them."""
    if value is None:
        return
    if not 0 <= _float(value) < math.inf:
        raise ValueError(f"{name}: expected a number of at least 0 or None, got {value!r}")


def _is_finite(value: object) -> bool:
    return math.isfinite(_float(value))


def _float(value: object) -> float:
    """The number; NaN for what is none, and for an integer that no float can hold."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
