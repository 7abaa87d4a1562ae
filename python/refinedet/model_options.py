"""Options of models under the names that they have now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SPLIT = {"negative_ratio": ("arm_negative_ratio", "odm_negative_ratio")}
"""Options that both stages shared once, as files of those days say them, and those that they have become."""


def present_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with one that both stages share, `negative_ratio`, as that of each stage.

    ValueError where it stands beside one of the two.
    """
    known = dict(options)
    for name, parts in SPLIT.items():
        if name not in known:
            continue
        beside = [part for part in parts if part in known]
        if beside:
            raise ValueError(
                f"{name}: expected nothing beside {beside[0]}, as it sets both stages, got {known[name]!r}"
            )
        value = known.pop(name)
        known.update(dict.fromkeys(parts, value))
    return known
