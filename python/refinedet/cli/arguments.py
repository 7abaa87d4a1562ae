"""From what was typed to what jsonargparse reads: names put right, configurations read, modules imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config_files import (
    ALTERNATIVES,
    dump_config,
    find_config,
    load_config,
    merge,
    parse_config,
    starting_point,
    without,
)
from ..usage import UsageError
from ..user_modules import import_user_module, is_file_name
from .names import OptionNames, did_you_mean
from .run_config import data_options, eval_options, is_run_config

OF_RUNS = ("train", "find_lr", "pretrain")
"""Commands whose options are the configuration of a run."""


@dataclass
class _Typed:
    """What was typed. configs: what configurations say, in order, and the file of each. imports: modules. given: the
    options' names. named: a configuration was named. words: what is left for the parser, in order."""

    configs: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    named: bool = False
    words: list[str] = field(default_factory=list)

    def sketch(self) -> dict[str, Any]:
        """What is given, by section and name, as it was typed."""
        found: dict[str, Any] = {}
        for config, _ in self.configs:
            found = merge(found, config)
        for name in self.given:
            section, _, rest = name.partition(".")
            found.setdefault(section, {})
            if isinstance(found[section], dict):
                found[section][rest] = self._value(name)
        return found

    def _value(self, name: str) -> str | None:
        """The last one that was typed for an option."""
        value = None
        for word, following in zip(self.words, [*self.words[1:], None], strict=True):
            if word == f"--{name}":
                value = following
            elif word.startswith(f"--{name}="):
                value = word.partition("=")[2]
        return value


def read_arguments(argv: Sequence[str], command: str, names: OptionNames) -> list[str]:
    """The words for a command's parser, after the modules that it is to import were imported.

    An option goes before configurations, wherever it stands, and a later configuration before an earlier one.
    UsageError names an option or a key that there is not, and the closest ones there are.
    """
    typed = _sort(argv, command, names)
    content = starting_point(typed.sketch(), command) if command in OF_RUNS and not typed.named else {}
    imports: list[str] = []
    for config, file in typed.configs:
        imports += import_modules(config.pop("imports", None))
        if command in ("eval", "analyse") and is_run_config(config):
            config = eval_options(config, Path(file), has_weights=bool(typed.given & {"weights", "detections"}))
            if command == "analyse":
                for name in ("kind", "nms"):  # it has no metric to choose, and the model its own suppression
                    config.pop(name, None)
        if command == "data" and is_run_config(config):
            config = data_options(config)
        content = merge(content, checked(config, names, file))
    for pair in ALTERNATIVES:
        if typed.given.issuperset(pair):
            raise UsageError(f"--{pair[0]}, --{pair[1]}: expected one of them, got both")
        for name, replaced in (pair, pair[::-1]):
            if name in typed.given:
                content = without(content, replaced)
    imports += import_modules(typed.imports)
    if imports and command in OF_RUNS:
        content["imports"] = list(dict.fromkeys(imports))
    first = [f"--config={dump_config(content)}"] if content else []
    return [*first, *typed.words]


def import_modules(names: object) -> list[str]:
    """Import the modules of the option `imports`, and return their names; UsageError unless it is a list of names."""
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"imports: expected a list of modules, got {names!r}")
    for name in names:
        import_user_module(name)
    return names


def checked(content: Mapping[str, Any], names: OptionNames, file: str, prefix: str = "") -> dict[str, Any]:
    """What a configuration says, by the options' own names; a section without anything is left out.

    UsageError for a key that there is not, and for a section that is no mapping.
    """
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        section = name.replace("-", "_")
        if section in names.sections:
            if value is None:
                continue
            if not isinstance(value, Mapping):
                raise UsageError(f"{name}: expected keys and values in {file}, got {value!r}")
            result[section.rpartition(".")[2]] = checked(value, names, file, f"{section}.")
            continue
        found = names.find(name)
        if found is None:
            raise UsageError(f"{name}: no such option, in {file}{did_you_mean(names.closest(name))}")
        result[found.rpartition(".")[2]] = value
    return result


def _sort(argv: Sequence[str], command: str, names: OptionNames) -> _Typed:
    typed = _Typed()
    words = iter(argv)
    for word in words:
        if word == "--":
            typed.words += [word, *words]
        elif not word.startswith("--"):
            typed.words.append(word)
        else:
            name, equals, value = word.removeprefix("--").partition("=")
            section = name.replace("-", "_")
            if name == "import":
                module = value or _next(words, name)
                typed.imports.append(os.path.abspath(module) if is_file_name(module) else module)
            elif name == "config" and name in names.names:
                file = value or _next(words, name)
                typed.configs.append((load_config(file), str(find_config(file))))
                typed.named = True
            elif section in names.sections:
                typed.configs.append(_section(section, value or _next(words, name)))
            else:
                found = names.find(name)
                if found is None:
                    close = [f"--{other}" for other in names.closest(name)]
                    raise UsageError(f"--{name}: refinedet {command} has no such option{did_you_mean(close)}")
                typed.given.add(found.rstrip("+"))
                typed.words.append(f"--{found}{equals}{value}")
    return typed


def _next(words: Iterator[str], name: str) -> str:
    word = next(words, None)
    if word is None or word.startswith("--"):
        raise UsageError(f"--{name}: expected a value, got {'nothing' if word is None else word}")
    return word


def _section(name: str, value: str) -> tuple[dict[str, Any], str]:
    """A section as a whole, such as `--data cells.yaml` or `--data '{"root": "cells"}'`."""
    inline = value.lstrip().startswith("{")
    if not inline and not Path(value).is_file():
        raise UsageError(f"--{name}: expected a YAML file or {{key: value, ...}}, got {value}")
    content = parse_config(value, f"--{name}") if inline else load_config(value)
    for key in reversed(name.split(".")):
        content = {key: content}
    return content, f"--{name}" if inline else value
