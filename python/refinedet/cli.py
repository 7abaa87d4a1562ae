"""The command `refinedet`: train, eval, predict, export, convert, demo, data, info."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

FUNCTIONS = {
    "train": "train",
    "eval": "evaluate",
    "predict": "predict",
    "export": "export",
    "convert": "convert",
    "demo": "demo",
    "data": "inspect_dataset",
    "info": "info",
}
NEEDED = (
    "torch",
    "lightning",
    "cv2",
    "jsonargparse",
    "pycocotools",
    "matplotlib",
    "tensorboard",
    "safetensors",
    "yaml",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status. Errors are one line on stderr (REFINEDET_TRACEBACK=1 shows it all)."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"refinedet: error: the detectors need {', '.join(missing)}, not installed here: "
            "pip install 'refinedet-ext[train]'",
            file=sys.stderr,
        )
        return 1
    try:
        return _run(_resolve_configs(argv))
    except KeyboardInterrupt:
        print("refinedet: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("REFINEDET_TRACEBACK"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"refinedet: error: {text}", file=sys.stderr)
        return 1


def _resolve_configs(argv: list[str]) -> list[str]:
    """The file or name after `--config` to what it says together with its bases, which jsonargparse reads as YAML."""
    from .config_files import dump_config, load_config

    resolved = []
    for position, argument in enumerate(argv):
        if position > 0 and argv[position - 1] == "--config":
            argument = dump_config(load_config(argument))
        elif argument.startswith("--config="):
            argument = f"--config={dump_config(load_config(argument.removeprefix('--config=')))}"
        resolved.append(argument)
    return resolved


def _run(argv: list[str]) -> int:
    from jsonargparse import ArgumentError

    from . import commands

    parser = build_parser()
    try:
        namespace = parser.parse_args(argv)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    instantiate = getattr(parser, "instantiate", None) or parser.instantiate_classes  # its name before 4.49
    options = instantiate(namespace)
    name: str = options.command
    arguments = {key: value for key, value in vars(options[name]).items() if key != "config"}
    if name == "convert":
        arguments["source"] = arguments.pop("from")  # a keyword of Python
    getattr(commands, FUNCTIONS[name])(**arguments)
    return 0


def build_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from . import commands
    from .convert import SOURCES
    from .engine.config import RunConfig

    parser = ArgumentParser(prog="refinedet", description=__doc__, exit_on_error=False, allow_abbrev=False)
    subcommands = parser.add_subcommands(dest="command", required=True)

    run = ArgumentParser(exit_on_error=False, allow_abbrev=False, description="Train a detector.")
    run.add_argument(
        "--config",
        action="config",
        help="YAML file, or the name of a shipped one (see refinedet info); its base: names one that it builds on",
    )
    run.add_class_arguments(RunConfig)
    subcommands.add_subcommand("train", run, help="train a detector")

    for name in ("eval", "predict", "export", "convert", "demo", "data", "info"):
        function = getattr(commands, FUNCTIONS[name])
        about = (function.__doc__ or "").split("\n")[0]
        sub = ArgumentParser(exit_on_error=False, allow_abbrev=False, description=about)
        if name in ("eval", "data"):
            sub.add_argument("--config", action="config", help="YAML file with these options")
        if name == "data":
            sub.add_argument("root", nargs="?", type=str, help="folder of the data set, as --data.root")
        if name == "predict":
            sub.add_argument("images", nargs="+", type=str, help="image files, or folders of them")
        if name == "convert":
            sub.add_argument("weights", type=str, help="the checkpoint's file")
            sub.add_argument("output", type=str, help="the model file to write, *.safetensors")
            sub.add_argument("--from", type=str, required=True, help=f"whose it is: {', '.join(SOURCES)}")
        if name == "info":
            sub.add_argument("name", nargs="?", type=str, help="a model of the registry")
        sub.add_function_arguments(
            function,
            as_positional=False,
            skip={
                "images",
                "name",
                *(("root",) if name == "data" else ()),
                *(("weights", "output", "source") if name == "convert" else ()),
            },
        )
        subcommands.add_subcommand(name, sub, help=about)
    return parser


if __name__ == "__main__":
    sys.exit(main())
