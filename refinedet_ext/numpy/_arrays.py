"""Arrays on their way into the compiled module: floating, one dtype, C order, rows that repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_shape

try:
    from .. import _numpy_ops
except ImportError as error:
    if "_numpy_ops" not in str(error):
        raise
    _numpy_ops = None


def op(name: str) -> Callable[..., Any]:
    """A function of the compiled module; without the module, one that says what is missing."""
    if _numpy_ops is not None:
        return getattr(_numpy_ops, name)

    def missing(*args: object, **kwargs: object) -> Any:
        raise ImportError(
            "refinedet_ext was built without its NumPy module. Build it again where CMake finds pybind11: "
            "pip install pybind11, then pip install --no-build-isolation --force-reinstall --no-deps . "
            "in the folder of its source"
        )

    return missing


def as_array(value: ArrayLike, name: str) -> NDArray[Any]:
    """`np.asarray`, but a masked value is an error: what it stands for is not a number."""
    if _is_masked(value):
        raise TypeError(f"{name}: expected an array without masked values, got some; drop or fill them")
    try:
        return np.asarray(value)
    except ValueError:  # rows of different lengths
        raise TypeError(f"{name}: expected an array of numbers, got {type(value).__name__}") from None
    except (TypeError, RuntimeError) as error:  # a torch tensor in bfloat16, or one that wants a gradient
        kind = type(value).__name__
        raise TypeError(f"{name}: expected an array of numbers, got a {kind} that NumPy cannot read: {error}") from None


def floating(value: ArrayLike, name: str) -> NDArray[Any]:
    """float16, float32 and float64 as they are; lists of Python's own numbers become float32."""
    array = as_array(value, name)
    if isinstance(value, np.ndarray) or (array.dtype.kind == "f" and not _is_plain(value)):
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise TypeError(f"{name}: expected dtype float16, float32 or float64, got {array.dtype}")
        return array
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected an array of numbers, got {type(value).__name__} of dtype {array.dtype}")
    return array.astype(np.float32)


def _is_plain(value: Any) -> bool:
    """Whether it is made of Python's own lists and numbers, which say nothing about a precision."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return type(value) in (int, float, bool)


def _is_masked(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_is_masked, value))
    return isinstance(value, np.ma.MaskedArray) and bool(np.ma.is_masked(value))


def contiguous(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=dtype).reshape(array.shape)  # ascontiguousarray makes 0-d arrays 1-d


def aligned(name_a: str, a: ArrayLike, name_b: str, b: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two (..., 4) arrays in one dtype; `a` in the broadcast shape, `b` in rows that repeat over those of `a`."""
    x, y = floating(a, name_a), floating(b, name_b)
    for name, array in ((name_a, x), (name_b, y)):
        check_shape(array, name, ("...", 4))
    dtype = np.promote_types(x.dtype, y.dtype)
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise ValueError(f"{name_b}: expected a shape that broadcasts with {name_a} {x.shape}, got {y.shape}") from None
    while y.ndim > 1 and y.shape[0] == 1:
        y = y[0]
    if y.shape != shape[len(shape) - y.ndim :]:
        y = np.broadcast_to(y, shape)
    return contiguous(np.broadcast_to(x, shape), dtype), contiguous(y, dtype)
