"""Modules of the user's own, which register models before a command looks for them: `--import`, `imports:`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType


def is_file_name(name: str) -> bool:
    """Whether a module is named by its file: "models.py", "../models.py"."""
    return name.endswith(".py") or os.sep in name


def import_user_module(name: str) -> ModuleType:
    """Import a module by its name, from the current folder or installed, or by its file; once, as every import.

    What is installed goes before the current folder, so that a file there never takes a package's place.

    ImportError if there is no such module, if another one has that name already, or if it raises an error.
    """
    if not name:
        raise ImportError("import: expected the name of a module or its file, got nothing")
    return _from_file(Path(name)) if is_file_name(name) else _by_name(name)


def _by_name(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise ImportError(f"import: no module {name!r}, neither installed nor in {here}") from None
    except Exception as error:  # whatever the user's code raises
        raise _failed(name, error) from error


def _from_file(file: Path) -> ModuleType:
    path = file.expanduser().resolve()
    if not path.is_file():
        raise ImportError(f"import: no file {file}")
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if Path(getattr(loaded, "__file__", None) or "").resolve() == path:
            return loaded
        raise ImportError(f"import: {file} has the name of a module that is loaded already; give it another one")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"import: expected a Python file, got {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        del sys.modules[path.stem]
        raise _failed(str(file), error) from error
    return module


def _failed(name: str, error: Exception) -> ImportError:
    return ImportError(f"import: {name} cannot be imported: {type(error).__name__}: {error}")
