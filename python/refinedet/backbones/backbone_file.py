"""Weights of a backbone in a file that says what they expect of the detector around it."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from ..tensor_file import SUFFIX, check_header, check_suffix, read_header, write_tensors

FORMAT = "refinedet-backbone"
VERSION = 1
OWN = "backbone_"
SHARED = ("cardinality", "group_width", "pixel_mean", "pixel_std", "channel_order")
"""Options of a detector that weights of a backbone may set, beside those whose names begin with `OWN`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """Where the weights of a backbone come from, and what they expect.

    source: the name that `refinedet convert --from` knows them by. options: those of a detector that have to be so,
    such as the pixels that the weights were trained on; JSON's lists count as tuples.
    """

    source: str
    options: dict[str, Any]


def save_backbone(state: Mapping[str, Tensor], path: str | os.PathLike[str], origin: Origin) -> Path:
    """Write a backbone's state dict and its origin into one safetensors file, and return the path.

    The file replaces an older one only when it is complete.
    """
    header = {"format": FORMAT, "version": VERSION, "source": origin.source, "options": origin.options}
    return write_tensors(state, check_suffix(path), header)


def read_origin(path: str | os.PathLike[str]) -> Origin | None:
    """The origin of a file that `save_backbone` wrote; None for any other file, also for one that is not there."""
    file = Path(path)
    if file.suffix != SUFFIX or not file.is_file():
        return None
    try:
        header = read_header(file)
    except SafetensorError:
        return None  # reading the tensors will say what is wrong with the file
    if header.get("format") != FORMAT:
        return None
    check_header(header, file, {"source": str, "options": dict})
    if header["version"] > VERSION:
        raise ValueError(f"weights: {file} has format version {header['version']}, this package reads up to {VERSION}")
    for name in header["options"]:
        if not name.startswith(OWN) and name not in SHARED:
            raise ValueError(f"weights: {file} sets {name}, which is none of the options that weights expect")
    return Origin(header["source"], header["options"])


def with_origin_options(
    path: str | os.PathLike[str],
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """The options of a detector with those that its backbone's weights expect.

    path: the weights; a file without an origin changes nothing. defaults: the detector's options as they are without
    being given; what it has no option for is the backbone's to check. given: options that were asked for.
    origin: of weights that are known otherwise than by their file.

    What the weights expect and nobody gave is set, and logged as a warning where it is not the default. ValueError if
    a given option contradicts the weights.
    """
    origin = origin or read_origin(path)
    options = dict(given)
    if origin is None:
        return options
    changed = {}
    for name, value in origin.options.items():
        if name not in defaults:
            continue
        if name in given:
            if not same_option(given[name], value):
                raise ValueError(
                    f"{name}: expected {_shown(value)} or nothing, as the backbone's weights in {path} are those of "
                    f"{origin.source}, got {_shown(given[name])}; the checkpoint as it was published loads unchecked"
                )
        else:
            options[name] = value
            if not same_option(defaults[name], value):
                changed[name] = value
    if changed:
        logger.warning("%s (%s) sets %s", path, origin.source, describe_options(changed))
    return options


def check_style(path: str | os.PathLike[str], style: str) -> bool:
    """Whether the file says which of `resnet.STYLES` its weights are; ValueError if it is another than `style`."""
    origin = read_origin(path)
    expected = None if origin is None else origin.options.get("backbone_style")
    if origin is not None and expected is not None and expected != style:
        raise ValueError(
            f"weights: {path} is of {origin.source} and fits a ResNet with style {expected!r}, got one with {style!r}"
        )
    return expected is not None


def describe_options(options: Mapping[str, Any]) -> str:
    """For people: name=value, name=value."""
    return ", ".join(f"{name}={_shown(value)}" for name, value in options.items())


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_shown(v) for v in value)})"
    return f"{value:g}" if isinstance(value, float) else repr(value)


def same_option(a: Any, b: Any) -> bool:
    """Equal as options: lists are tuples, and numbers may differ in the last digits that were written down."""
    if isinstance(a, (str, bool)) or isinstance(b, (str, bool)) or a is None or b is None:
        return bool(a == b)
    if isinstance(a, Sequence) and isinstance(b, Sequence):
        return len(a) == len(b) and all(same_option(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-4)
    return bool(a == b)
