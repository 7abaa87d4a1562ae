"""One message for packages that are not installed."""

from __future__ import annotations

import importlib
from types import ModuleType

OWN = ("refinedet", "refinedet_ext")


def explain_missing(error: ModuleNotFoundError, what: str) -> ImportError:
    """The error for a failed import of `what`: names the package to install; our own faults stay as they are."""
    package = (error.name or "").split(".")[0]
    if package in OWN:
        return error
    return ImportError(
        f"{what} needs the package {package}, which is not installed: pip install 'refinedet-ext[train]'"
    )


def import_optional(package: str, what: str) -> ModuleType:
    """A package that only `what` needs; ImportError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and lacks something itself
            raise
        raise ImportError(
            f"{what} needs the package {package}, which is not installed: pip install {package}"
        ) from None
