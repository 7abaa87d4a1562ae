"""Packages whose names load at first use: who wants one of them does not wait for what the others need."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .extras import explain_missing


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; homes: the names by the module that has them, such as ".coco".

    ImportError, where a module needs a package that is not installed, says how to install it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            home = importlib.import_module(home_of[name], package)
        except ModuleNotFoundError as error:
            raise explain_missing(error, f"{package}.{name}") from error
        value = getattr(home, name)
        setattr(sys.modules[package], name, value)  # the next time nobody asks here
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, names
