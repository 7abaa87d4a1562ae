"""jsonargparse's errors in this package's words: the option, what was expected, what came."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

_KEY = re.compile(r'Parser key "([^"]+)"')
_VALUE = re.compile(r"(?:Got value|Given value): ")  # of a union once for each of its types, and last what was given
_NESTED = re.compile(r"NestedArg\(key='([^']*)', val='?(.*?)'?\)$", re.S)
_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def explain(message: str, parser: ArgumentParser) -> str:
    """The message of an error that jsonargparse raised; one of a form that is not known stays as it is."""
    if message.startswith("unrecognized arguments: "):
        return f"unexpected: {message.removeprefix('unrecognized arguments: ')}"
    options = parser._option_string_actions
    if message.startswith("the following arguments are required: "):
        names = message.partition(": ")[2].split(", ")
        shown = [f"--{name}" if f"--{name}" in options else name for name in names]
        return f"{', '.join(shown)}: required, got nothing"
    keys = _KEY.findall(message)
    if not keys:
        return message
    key = keys[-1]
    action = options.get(f"--{key}")
    hint = getattr(action, "_typehint", None) or getattr(action, "type", None)
    _, *values = _VALUE.split(message)
    if hint is None or not values:
        return message
    value = values[-1].strip()
    nested = _NESTED.search(value)
    if nested is not None:  # --option.key value
        key, value = f"{key}.{nested[1]}", nested[2]
        hint = _values_of(hint)
    return f"{key}: expected {describe(hint)}, got {value}"


def describe(hint: Any) -> str:
    """A type in words: "a number or null", "one of auto, voc, coco", "a list of integers"."""
    if hint in _WORDS:
        return _WORDS[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else str(inner[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, inner))
    if origin is list:
        return f"a list, each {describe(inner[0])}"
    if holds_mapping(hint):
        return "keys and values"
    return str(hint)


def _values_of(hint: Any) -> Any:
    """The type of the values in the mapping that a type holds."""
    for inner in (hint, *get_args(hint)):
        if get_origin(inner) is dict:
            return get_args(inner)[1]
    return hint


def holds_mapping(hint: Any) -> bool:
    """Whether a mapping is among the values of this type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(map(holds_mapping, get_args(hint)))
    kind = origin or hint
    return isinstance(kind, type) and issubclass(kind, Mapping | dict)
