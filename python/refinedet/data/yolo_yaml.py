"""YOLO's data.yaml: where the parts lie, and what the classes are called."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

from ..strict_yaml import StrictLoader, parse_yaml
from .text import read_text

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


class _Loader(StrictLoader):
    """Gives every scalar as the string that stands there: YAML 1.1 would make `True` of a class called yes, 7 of 007
    and 5400 of 1:30:00."""


_Loader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:merge"])
}


def find_yaml(root: Path) -> Path | None:
    """The YAML file of a data set: the root itself, one of the usual names in it, or the only one there is."""
    if not root.is_dir():
        if root.suffix.lower() not in (".yaml", ".yml"):
            raise FileNotFoundError(f"root: expected a folder or a YAML file, got {root}")
        return root
    for name in NAMES:
        if (root / name).is_file():
            return root / name
    found = sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    return found[0] if len(found) == 1 else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, every scalar a string; those that are empty or null are left out.

    Raises FileNotFoundError; ValueError naming the file.
    """
    try:
        content = parse_yaml(read_text(path), _Loader)
    except FileNotFoundError:
        raise FileNotFoundError(f"root: no such file: {path}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    except RecursionError:
        raise ValueError(f"{path} is not YAML of a data set: it is nested too deeply") from None
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected keys such as train and names, got {type(content).__name__}")
    return {key: value for key, value in content.items() if value not in ("", "~", "null", "Null", "NULL", None)}


def class_names(settings: dict[str, Any], where: Path) -> list[str] | None:
    """The names in data.yaml, or the numbers of `nc` classes; None where it has neither. Raises ValueError."""
    names, count = settings.get("names"), settings.get("nc")
    if count is not None and not (isinstance(count, str) and count.isdecimal() and 0 < int(count) < 1_000_000):
        raise ValueError(f"{where}: nc: expected the number of classes, got {short(count)}")
    if names is None:
        return None if count is None else [str(number) for number in range(int(count))]
    if isinstance(names, dict):
        by_number = {str(number): name for number, name in names.items()}
        if set(by_number) != {str(number) for number in range(len(names))}:
            raise ValueError(f"{where}: names: expected the numbers 0, 1, ... as keys, got {short(list(names))}")
        names = [by_number[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{where}: names: expected a list of names, got {short(names)}")
    for name in names:
        if isinstance(name, list | dict):
            raise ValueError(f"{where}: names: expected a list of names, got {short(name)} in it")
    if count is not None and int(count) != len(names):
        raise ValueError(f"{where}: nc: expected {len(names)}, as there are so many names, got {count}")
    return [str(name).strip() for name in names]


def short(value: Any) -> str:
    """A value for a message; aliases in YAML can make one whose whole text would fill the memory."""
    return reprlib.repr(value)
