"""Checks of arguments, shared by the torch and the NumPy face (both kinds of array have `shape`).

Every message names the argument, what was expected and what came. Nothing here imports torch.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .defaults import VARIANCES

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
        if isinstance(getattr(tensor, "device", ""), str):  # of a NumPy array it is text
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
        if first is None:
            first = (name, tensor.device)
        elif tensor.device != first[1]:
            raise ValueError(f"{name}: expected device {first[1]} as {first[0]} has, got {tensor.device}")


def check_range(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False
) -> float:
    """A real number (of Python's, NumPy's or any other kind) in [low, high] (or (low, high]); NaN is refused."""
    if type(value) is not float:
        if _is_symbolic(value):
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float, numbers.Real)):
            raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
        value = float(value)
    if not low <= value <= high or (open_low and value == low):
        raise ValueError(f"{name}: expected a number in {'(' if open_low else '['}{low}, {high}], got {value}")
    return value


def check_finite(value: Any, name: str, low: float) -> float:
    """A real number of at least `low` that is not infinite."""
    value = check_range(value, name, low)
    if not _is_symbolic(value) and value == math.inf:
        raise ValueError(f"{name}: expected a finite number, got inf")
    return value


def check_count(value: Any, name: str, low: int = 0) -> int:
    """A whole number (of Python's, NumPy's or any other kind) of at least `low`."""
    if type(value) is not int:
        if _is_symbolic(value):
            return value
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
        value = int(value)
    if value < low:
        raise ValueError(f"{name}: expected at least {low}, got {value}")
    return value


def check_pair(value: Any, name: str, low: int = 0) -> list[int]:
    """One whole number of at least `low` for both directions, or (vertical, horizontal)."""
    if type(value) is int and value >= low:
        return [value, value]
    if isinstance(value, numbers.Integral) or _is_symbolic(value):
        return [check_count(value, name, low)] * 2
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: expected an int or a pair of ints, got {value!r}")
    return [check_count(v, name, low) for v in value]


def _is_symbolic(value: Any) -> bool:
    """A number that torch.compile leaves open; asking for its value would compile anew for each. The op looks at it."""
    return type(value).__name__ in ("SymFloat", "SymInt") and type(value).__module__ == "torch"


def check_choice(value: str, name: str, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_variances(variances: Any) -> Sequence[float]:
    if type(variances) is tuple and variances == VARIANCES:
        return variances
    what = "4 values (center x, center y, width, height)"
    return _numbers(variances, "variances", 4, what, "positive finite values", lambda v: 0 < v < math.inf)


def check_clip_to(clip_to: Any) -> list[float] | None:
    if clip_to is None:
        return None
    what = "(width, height)"
    return _numbers(clip_to, "clip_to", 2, what, "finite sizes of at least 0", lambda v: 0 <= v < math.inf)


def _numbers(
    values: Any, name: str, count: int, what: str, of_which: str, fits: Callable[[float], bool]
) -> list[float]:
    wrong = isinstance(values, (str, bytes, bytearray, Mapping))
    if wrong or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise TypeError(f"{name}: expected {what}, got {values!r}")
    if len(values) != count:
        raise ValueError(f"{name}: expected {what}, got {len(values)} values")
    checked = [check_range(v, name) if v == v else math.nan for v in values]
    if not all(_is_symbolic(v) or fits(v) for v in checked):
        raise ValueError(f"{name}: expected {of_which}, got {tuple(checked)}")
    return checked


FORCE_MATCH = ("bipartite", "argmax", "none")


def check_matching(anchors: Any, gt_boxes: Any, gt_labels: Any, gt_offsets: Any, gt_ignore: Any) -> None:
    """The shapes and dtypes of what `match_anchors` takes, on either face."""
    sizes: dict[str, int] = {}
    check_shape(gt_boxes, "gt_boxes", ("G", 4), sizes)
    check_shape(gt_labels, "gt_labels", ("G",), sizes)
    check_dtype(gt_labels, "gt_labels", "int64")
    check_shape(gt_offsets, "gt_offsets", ("B+1",))
    check_dtype(gt_offsets, "gt_offsets", "int64")
    if gt_offsets.shape[0] == 0:
        raise ValueError("gt_offsets: expected shape (B+1,) with at least one offset, got (0,)")
    if gt_ignore is not None:
        check_shape(gt_ignore, "gt_ignore", ("G",), sizes)
        check_dtype(gt_ignore, "gt_ignore", "bool")
    batch, shape = gt_offsets.shape[0] - 1, anchors.shape
    if len(shape) not in (2, 3) or shape[-1] != 4 or (len(shape) == 3 and shape[0] != batch):
        raise ValueError(
            f"anchors: expected shape (A, 4), or (B, A, 4) with B = {batch} as gt_offsets says, got {tuple(shape)}"
        )


Rules = tuple[float, float, float, str]


def check_rules(positive_iou: Any, negative_iou: Any, ignore_iof: Any, force_match: Any) -> Rules:
    """The settings of `match_anchors` in the order in which its op takes them, as Python's own numbers."""
    return (
        check_range(positive_iou, "positive_iou", 0, 1),
        check_range(negative_iou, "negative_iou", 0, 1),
        check_range(ignore_iof, "ignore_iof", 0, 1, open_low=True),
        check_choice(force_match, "force_match", FORCE_MATCH),
    )


METHODS = ("hard", "linear", "gaussian")

Suppression = tuple[float, float, int | None, int | None, int, str, float, float]


def check_suppression(
    score_threshold: Any,
    iou_threshold: Any,
    top_k_per_class: Any,
    top_k: Any,
    keep_top_k: Any,
    method: Any,
    sigma: Any,
    min_score: Any,
) -> Suppression:
    """The settings that `multiclass_nms` and `detect` share, as Python's own numbers in the order of the ops."""
    return (
        check_range(score_threshold, "score_threshold"),
        check_range(iou_threshold, "iou_threshold", 0.0, 1.0),
        None if top_k_per_class is None else check_count(top_k_per_class, "top_k_per_class", 1),
        None if top_k is None else check_count(top_k, "top_k", 1),
        check_count(keep_top_k, "keep_top_k"),
        check_choice(method, "method", METHODS),
        check_range(sigma, "sigma", 0.0, math.inf, open_low=True),
        check_range(min_score, "min_score", 0.0),
    )


def check_kept(kept: Any) -> None:
    """What `decode_cascade` takes from `filter_anchors`, on either face."""
    if not isinstance(kept, tuple) or len(kept) != 2:
        raise TypeError(f"kept: expected (index, count) as filter_anchors returns them, got {type(kept).__name__}")
