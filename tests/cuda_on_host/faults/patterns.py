"""The faults that patterns find in a kernel file."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The atomics made plain: reading and writing are two steps, between which others may come.
PLAIN_ATOMICS = r"""
#include <type_traits>
namespace not_atomic {
template <class T> using V = std::type_identity_t<T>;
#define NOT_ATOMIC(name, expression) \
  template <class T> T name(T* p, V<T> x) { T old = *p; *p = expression; return old; }
NOT_ATOMIC(Add, old + x) NOT_ATOMIC(Sub, old - x) NOT_ATOMIC(And, old & x) NOT_ATOMIC(Or, old | x)
NOT_ATOMIC(Xor, old ^ x) NOT_ATOMIC(Max, old < x ? x : old) NOT_ATOMIC(Min, x < old ? x : old) NOT_ATOMIC(Exch, x)
template <class T> T CAS(T* p, V<T> e, V<T> x) { T old = *p; if (old == e) *p = x; return old; }
}
"""

REMOVED_CALLS = re.compile(
    r"\b(__syncthreads|__syncwarp|__threadfence|close_copy_group|wait_for_copies<[^;()]*>)\([^()]*\);"
)


def closing(text: str, start: int) -> int:
    """The index of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError("unbalanced parentheses")


def arguments_of(text: str, start: int) -> list[tuple[int, int]]:
    """Where the arguments of the call whose parenthesis opens at `start` begin and end."""
    end, depth, cuts = closing(text, start), 0, [start]
    for i in range(start + 1, end):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(text[i], 0)
        if depth == 0 and text[i] == ",":
            cuts.append(i)
    return [(a + 1, b) for a, b in zip(cuts, [*cuts[1:], end], strict=True)]


def one_line(text: str) -> str:
    return " ".join(text.split())


def damages(text: str) -> Iterator[tuple[int, int, str, str]]:
    """(begin, end, instead, what) of every fault that a pattern finds in a file."""
    code = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)  # of the same length
    for m in REMOVED_CALLS.finditer(code):
        yield *m.span(), ";", f"{m[1]} removed"
    for m in re.finditer(r"\batomic(Add|Sub|And|Or|Xor|Max|Min|Exch|CAS)\(", code):
        yield *m.span(), f"not_atomic::{m[1]}(", f"atomic{m[1]} made plain"
    for m in re.finditer(r"\bif (constexpr )?(\()", code):
        condition = code[m.start(2) : closing(code, m.start(2)) + 1]
        if not m[1] and re.search(r" [<>]=? ", condition):
            yield m.start(2), m.start(2) + len(condition), "(true)", f"guard {one_line(condition)} dropped"
    for m in re.finditer(r"\bfor \([^;()]*;[^;]*( < )[^;]*;", code):
        if not re.search(r"GPU_UNROLL(_BY\(\w+\))?\s*$", code[: m.start()]):  # those go over registers
            yield *m.span(1), " <= ", f"one step too many: {one_line(m[0])}"
    for m in re.finditer(r"\bGPU_CHECK(\()", code):
        end = closing(code, m.start(1)) + 1
        yield m.start(), end, "(void)0", f"check removed: {one_line(code[m.end() : end - 1])}"
    for m in re.finditer(r"GPU_SHARED\([^;\[\]]*\[([^\[\]]*)\]", code):
        yield *m.span(1), f"({m[1]}) - 1", f"shared array too small: {m[0].split(',')[1].strip()}"
    for m in re.finditer(r"\blaunch(\()", code):
        spans = arguments_of(code, m.start(1))
        values = [code[begin:end].strip() for begin, end in spans]
        if "stream" in values and values[at := values.index("stream") - 1] != "0":
            yield *spans[at], f" ({values[at]}) / 2", f"dynamic shared memory halved: {one_line(values[at])}"
    for m in re.finditer(r"(\w+_sync)\((kAllLanes)\b", code):
        yield *m.span(2), "(kAllLanes >> 16)", f"mask of {m[1]} halved"
