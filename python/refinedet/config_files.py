"""Configuration files: those that come along by name, and how one builds on another.

base: refinedet320_vgg16_voc07   # a configuration that comes along, or a file such as ../mine.yaml
without: [optim.warmup_epochs]   # keys of the base that are not wanted: their defaults hold again
imports: [../mine.py]            # modules that register models: files, relative to this one, or names
model:
  options: {theta: 1.0}          # and what differs: mappings merge, everything else replaces the base's value
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .strict_yaml import StrictLoader, parse_yaml
from .user_modules import is_file_name

CONFIGS = Path(__file__).parent / "configs"
SUFFIXES = (".yaml", ".yml")
RECIPES = {"pretrain": "pretrain_imagenet"}
"""By command: what a run begins with that names no configuration. Others begin with `OWN_DATA`."""
OWN_DATA = "own_data"
MAX_LENGTH = 1_000_000
"""Characters of a file: PyYAML takes about ten seconds for so many."""
ALTERNATIVES = (("train.iterations", "train.epochs"), ("optim.warmup_iterations", "optim.warmup_epochs"))
"""Two ways to say one thing: who changes a configuration by one of them takes the other one out."""


def list_configs() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


def find_config(name: str) -> Path:
    """A configuration by path, or by the name of one that comes with the package."""
    path = Path(name)
    return path if path.is_file() else _shipped(name, "config")


def load_config(name: str | Path) -> dict[str, Any]:
    """The content of a configuration, by path or name, with that of its `base` merged in.

    FileNotFoundError for an unknown configuration or base, ValueError for a file that is no mapping, no YAML or not in
    UTF-8, for a key that is given twice, for bases that go round in a circle, and for keys of `without` that the base
    does not have.
    """
    return _load(find_config(str(name)), ())


def parse_config(text: str, name: str) -> dict[str, Any]:
    """The mapping that a text in YAML (or JSON) holds; ValueError if it holds none. name: where it comes from."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"config: expected at most {MAX_LENGTH:,} characters in {name}, got {len(text):,}")
    try:
        content = parse_yaml(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ValueError(f"config: {name} is not YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"config: {name} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"config: expected keys and values in {name}, got {type(content).__name__}")
    return content


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`: mappings merge, everything else replaces the base's value, and so does one of
    `ALTERNATIVES` the other one."""
    merged = dict(base)
    for pair in ALTERNATIVES:
        for name, replaced in (pair, pair[::-1]):
            if _value(changes, name) is not None and _value(changes, replaced) is None:
                merged = without(merged, replaced)
    return _merge(merged, changes)


def starting_point(changes: Mapping[str, Any], command: str = "train") -> dict[str, Any]:
    """What a run of a command begins with that names no configuration: its recipe, `own_data` without its model where
    `changes` ask for one; where they go on with another run, that run's config.yaml.
    """
    resume = _value(changes, "train.resume")
    if resume is not None:
        return _config_of_run(Path(str(resume)).expanduser())
    if command in RECIPES:
        return load_config(RECIPES[command])
    recipe = load_config(OWN_DATA)
    return without(recipe, "model") if changes.get("model") else recipe


def _config_of_run(checkpoint: Path) -> dict[str, Any]:
    """What stands beside a checkpoint, given by its file or by its run's folder. FileNotFoundError without it."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    file = folder / "config.yaml"
    if not checkpoint.exists():
        raise FileNotFoundError(f"train.resume: no file or folder {checkpoint}")
    if not file.is_file():
        raise FileNotFoundError(f"train.resume: no config.yaml in {folder}; give the run's configuration by config")
    content = load_config(file)
    return without(content, "output")  # a run goes on in its folder, wherever that is now


def without(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """`content` without a dotted key, which need not be there."""
    first, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in content.items() if name != first}
    inner = content.get(first)
    return {**content, first: without(inner, rest)} if isinstance(inner, dict) else dict(content)


def dump_config(content: Mapping[str, Any]) -> str:
    """YAML that reads back as `content`."""
    return yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _load(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """above: the files whose base leads here."""
    resolved = path.resolve()
    if resolved in above:
        raise ValueError(f"base: goes round in a circle, {' -> '.join(str(file) for file in (*above, resolved))}")
    if path.stat().st_size > 4 * MAX_LENGTH:
        raise ValueError(
            f"config: expected at most {MAX_LENGTH:,} characters in {path}, got {path.stat().st_size:,} bytes"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"config: expected text in UTF-8 in {path}, got {error.reason} at byte {error.start}"
        ) from None
    content = parse_config(text, str(path))
    if isinstance(content.get("imports"), list):
        content["imports"] = [_beside(path, name) for name in content["imports"]]
    unwanted = content.pop("without", None)
    if "base" not in content:
        if unwanted is not None:
            raise ValueError(f"without: expected a base beside it in {path}, got none")
        return content
    merged = _load(_find_base(content.pop("base"), path), (*above, resolved))
    for key in _names(unwanted, path):
        _remove(merged, key, path)
    return merge(merged, content)


def _find_base(base: object, path: Path) -> Path:
    if not isinstance(base, str) or not base:
        raise ValueError(f"base: expected a file or the name of a configuration in {path}, got {base!r}")
    if not base.endswith(SUFFIXES):
        return _shipped(base, f"base of {path}")
    file = path.parent / base
    if not file.is_file():
        raise FileNotFoundError(f"base of {path}: no file {file}")
    return file


def _shipped(name: str, what: str) -> Path:
    known = list_configs()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "refinedet info lists those that do"
        raise FileNotFoundError(f"{what}: no file {name}, and none of that name comes along; {hint}")
    return CONFIGS / f"{name}.yaml"


def _names(unwanted: object, path: Path) -> list[str]:
    if unwanted is None:
        return []
    if not isinstance(unwanted, list) or not all(isinstance(key, str) for key in unwanted):
        raise ValueError(f"without: expected a list of keys such as data.augment in {path}, got {unwanted!r}")
    return unwanted


def _remove(content: dict[str, Any], key: str, path: Path) -> None:
    *parents, last = key.split(".")
    inner: Any = content
    for parent in parents:
        inner = inner.get(parent) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        raise ValueError(f"without: expected keys that the base of {path} has, got {key!r}")
    del inner[last]


def _beside(path: Path, module: object) -> object:
    """A module that is named by its file, relative to the configuration that names it."""
    return str(path.parent.resolve() / module) if isinstance(module, str) and is_file_name(module) else module


def _value(content: Mapping[str, Any], key: str) -> object:
    inner: Any = content
    for name in key.split("."):
        inner = inner.get(name) if isinstance(inner, Mapping) else None
    return inner


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


class _Loader(StrictLoader):
    """Scalars as the command line reads them: 1e-3 is a number, and 2026-01-01 is text."""


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for something else than text."""


_FLOAT = re.compile(
    r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.[\d_]+(?:[eE][-+]?\d+)?|\.(?:inf|Inf|INF))$"
    r"|\.(?:nan|NaN|NAN)$"
)
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if not tag.endswith((":timestamp", ":float"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
