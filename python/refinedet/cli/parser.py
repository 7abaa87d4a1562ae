"""The commands with their options, as `commands` and the dataclasses of a run declare them."""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser

from refinedet_ext import __version__

from .. import commands
from ..classification.config import PretrainConfig
from ..engine.config import RunConfig
from ..usage import UsageError
from .arguments import OF_RUNS, checked, import_modules, read_arguments
from .messages import explain, holds_mapping
from .names import OptionNames, did_you_mean
from .run_config import analysis_options

COMMANDS: dict[str, Callable[..., None]] = {
    "train": commands.train,
    "find_lr": commands.find_lr,
    "pretrain": commands.pretrain,
    "eval": commands.evaluate,
    "predict": commands.predict,
    "analyse": commands.analyse,
    "explain": commands.explain,
    "export": commands.export,
    "convert": commands.convert,
    "demo": commands.demo,
    "data": commands.inspect_dataset,
    "speed": commands.speed,
    "info": commands.info,
}
POSITIONALS: dict[str, dict[str, str | None]] = {
    "analyse": {"run": "?"},
    "predict": {"images": "+"},
    "explain": {"image": None},
    "convert": {"weights": None, "output": None},
    "data": {"root": "?"},
    "info": {"name": "?"},
}
"""By command: the parameters that are no options, and how many words each takes, as argparse says it."""
SEVERAL: dict[str, dict[str, type]] = {"speed": {"models": str, "batch_sizes": int, "images": str}}
"""By command: the options that take one word or more, each of this type."""
RENAMED = {"convert": {"from": "source"}}
"""By command: options whose names are keywords of Python, and the parameters that they fill."""
WITH_CONFIG = {
    "train": "YAML file, or the name of a shipped one (see refinedet info); its base: names one that it builds on",
    "find_lr": "YAML file, or the name of a shipped one, as for train",
    "pretrain": "YAML file, or the name of a shipped one; pretrain_imagenet by default",
    "eval": "YAML file with these options, or the config.yaml of a run: its data, metrics, nms and model",
    "analyse": "YAML file with these options, or the config.yaml of a run, which says data and model",
    "data": "YAML file with these options, or the config.yaml of a run, which says data and model",
}
IMPORT = (
    "a module of your own that registers models, by name or file; it is imported before anything else. May be repeated"
)


def parse(argv: Sequence[str]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The function of a command and its arguments; SystemExit after help, UsageError if they are wrong as they are."""
    name, rest = argv[0], list(argv[1:])
    if name in ("-h", "--help", "--version"):
        top_level().parse_args([name])
    if name.startswith("-"):
        raise UsageError(f"{name}: expected a command first, one of {', '.join(COMMANDS)}")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
        raise UsageError(f"no command {name!r}{did_you_mean(close) or '; there are ' + ', '.join(COMMANDS)}")
    parser = build_parser(name)
    try:
        words = read_arguments(rest, name, option_names(parser))
        namespace = parser.parse_args(words)
        if name == "analyse" and namespace.run is not None:
            words = read_arguments([*analysis_options(namespace.run), *rest], name, option_names(parser))
            namespace = parser.parse_args(words)
        options = instantiate(parser, namespace)
    except ArgumentError as error:
        raise UsageError(explain(str(error), parser)) from error
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    return COMMANDS[name], options


def resolve_run(content: Mapping[str, Any]) -> RunConfig:
    """A run's configuration from its options by section, checked and converted as those of the command line.

    Modules among them are imported. UsageError names what is wrong.
    """
    parser = build_parser("train")
    known = checked(content, option_names(parser), "the options")
    import_modules(known.get("imports"))
    try:
        return RunConfig(**instantiate(parser, parser.parse_object(known)))
    except ArgumentError as error:
        raise UsageError(explain(str(error), parser)) from error


def build_parser(name: str) -> ArgumentParser:
    """The parser of one command."""
    function = COMMANDS[name]
    parser = ArgumentParser(
        prog=f"refinedet {name}", description=about(name, whole=True), exit_on_error=False, allow_abbrev=False
    )
    if name in WITH_CONFIG:
        parser.add_argument("--config", action="config", help=WITH_CONFIG[name])
    if name in OF_RUNS:
        parser.add_class_arguments(PretrainConfig if name == "pretrain" else RunConfig)
        return parser
    told = {param.arg_name: param.description for param in parse_docstring(function.__doc__ or "").params}
    for parameter, count in POSITIONALS.get(name, {}).items():
        more: dict[str, Any] = {} if count is None else {"nargs": count}
        parser.add_argument(parameter, type=str, help=told[parameter], **more)
    for option, parameter in RENAMED.get(name, {}).items():
        parser.add_argument(f"--{option}", type=str, required=True, help=told[parameter])
    for option, kind in SEVERAL.get(name, {}).items():
        default = inspect.signature(function).parameters[option].default
        parser.add_argument(f"--{option}", nargs="+", type=kind, default=default, help=told[option])
    parser.add_argument("--import", action="append", metavar="MODULE", help=IMPORT)
    skipped = {*POSITIONALS.get(name, ()), *RENAMED.get(name, {}).values(), *SEVERAL.get(name, ())}
    parser.add_function_arguments(function, as_positional=False, skip=skipped)
    return parser


def instantiate(parser: ArgumentParser, namespace: Any) -> dict[str, Any]:
    """The arguments of a command's function."""
    make = getattr(parser, "instantiate", None) or parser.instantiate_classes  # its name before 4.49
    options = vars(make(namespace))
    name = parser.prog.rpartition(" ")[2]
    renamed = RENAMED.get(name, {})
    return {renamed.get(key, key): value for key, value in options.items() if key not in ("config", "import")}


def option_names(parser: ArgumentParser) -> OptionNames:
    """Every option that a command has, its sections left out."""
    actions = {
        option.removeprefix("--"): action
        for option, action in parser._option_string_actions.items()
        if option.startswith("--")
    }
    sections = {name[:place] for name in actions for place, letter in enumerate(name) if letter == "."}
    mappings = [name for name, action in actions.items() if holds_mapping(getattr(action, "_typehint", None))]
    return OptionNames(set(actions) - sections, mappings)


def top_level() -> argparse.ArgumentParser:
    """What `refinedet --help` and `--version` show."""
    parser = argparse.ArgumentParser(
        prog="refinedet",
        description="Train, measure and run RefineDet, EFGRNet, RefineDetLite and PADet.",
        epilog="refinedet COMMAND --help shows the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"refinedet-ext {__version__}")
    group = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        group.add_parser(name, help=about(name), add_help=False)
    return parser


def about(name: str, whole: bool = False) -> str:
    """The first line of what a command's function says of itself, or all of it but its arguments."""
    told = parse_docstring(COMMANDS[name].__doc__ or "")
    parts = [told.short_description, told.long_description if whole else None]
    return "\n".join(part for part in parts if part)
