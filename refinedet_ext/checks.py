"""Checks of arguments, shared by the torch and the NumPy face (both kinds of array have `shape`).

Every message names the argument, what was expected and what came. Nothing here imports torch.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

Dim = int | str  # a size, a letter for "any size, the same wherever the letter stands", or "..." in front


def check_shape(array: Any, name: str, spec: tuple[Dim, ...], sizes: dict[str, int] | None = None) -> None:
    """`check_shape(boxes, "boxes", ("N", 4), sizes)`; letters are looked up in `sizes` and entered there."""
    shape = getattr(array, "shape", None)
    if shape is None:
        raise TypeError(f"{name}: expected an array of shape {_show(spec)}, got {type(array).__name__}")
    body = spec[1:] if spec[0] == "..." else spec
    fits = len(shape) >= len(body) if spec[0] == "..." else len(shape) == len(body)
    if fits:
        tail = shape[len(shape) - len(body) :]
        for dim, size in zip(body, tail, strict=True):
            if isinstance(dim, int):
                fits = fits and dim == size
            elif sizes is not None:
                if dim not in sizes:
                    sizes[dim] = size
                fits = fits and sizes[dim] == size
    if not fits:
        known = {k: v for k, v in (sizes or {}).items() if k in spec}
        named = ", ".join(f"{k} = {v}" for k, v in known.items())
        where = f" with {named}" if named and len(shape) == len(body) else ""
        raise ValueError(f"{name}: expected shape {_show(spec)}{where}, got {tuple(shape)}")


def _show(spec: tuple[Dim, ...]) -> str:
    return f"({', '.join(map(str, spec))}{',' if len(spec) == 1 else ''})"


def check_floating(array: Any, name: str) -> None:
    """torch tensors only; the NumPy face converts by itself."""
    is_floating = getattr(array, "is_floating_point", None)
    if is_floating is None:
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(array).__name__}")
    if not is_floating() or array.dtype.itemsize not in (2, 4, 8):
        raise TypeError(f"{name}: expected dtype float16, bfloat16, float32 or float64, got {array.dtype}")


def check_dtype(array: Any, name: str, *names: str) -> None:
    """`check_dtype(labels, "labels", "int64")`; dtypes by name, so that torch and NumPy read the same."""
    if not hasattr(array, "dtype"):
        raise TypeError(f"{name}: expected an array of dtype {' or '.join(names)}, got {type(array).__name__}")
    got = str(array.dtype).removeprefix("torch.")
    if got not in names:
        raise TypeError(f"{name}: expected dtype {' or '.join(names)}, got {got}")


def check_same_device(**tensors: Any) -> None:
    """All given tensors (None left out) on one device."""
    first: tuple[str, Any] | None = None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if first is None:
            first = (name, tensor.device)
        elif tensor.device != first[1]:
            raise ValueError(f"{name}: expected device {first[1]} as {first[0]} has, got {tensor.device}")


def check_range(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False
) -> float:
    """A real number (of Python's, NumPy's or any other kind) in [low, high] (or (low, high]); NaN is refused."""
    if not isinstance(value, float):
        if isinstance(value, bool) or not isinstance(value, (int, numbers.Real)):
            raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
        value = float(value)
    if not low <= value <= high or (open_low and value == low):
        raise ValueError(f"{name}: expected a number in {'(' if open_low else '['}{low}, {high}], got {value}")
    return value


def check_count(value: Any, name: str, low: int = 0) -> int:
    """A whole number (of Python's, NumPy's or any other kind) of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if not isinstance(value, int):
        value = int(value)
    if value < low:
        raise ValueError(f"{name}: expected at least {low}, got {value}")
    return value


def check_choice(value: str, name: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_variances(variances: Any) -> list[float]:
    if len(variances) != 4:
        raise ValueError(f"variances: expected 4 values (center x, center y, width, height), got {len(variances)}")
    if not all(0 < v < math.inf for v in variances):
        raise ValueError(f"variances: expected positive finite values, got {tuple(variances)}")
    return [float(v) for v in variances]


def check_clip_to(clip_to: Any) -> list[float] | None:
    if clip_to is None:
        return None
    if len(clip_to) != 2:
        raise ValueError(f"clip_to: expected (width, height), got {len(clip_to)} values")
    if not all(0 <= v < math.inf for v in clip_to):
        raise ValueError(f"clip_to: expected finite sizes of at least 0, got {tuple(clip_to)}")
    return [float(v) for v in clip_to]
