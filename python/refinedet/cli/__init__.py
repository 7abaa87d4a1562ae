"""The command `refinedet`, by its name or as `python -m refinedet.cli`.

Neither torch nor Lightning nor OpenCV is imported before a command runs, so that help and errors are there at once.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

from ..allocator import keep_freed_memory
from ..extras import install_command
from .signals import Terminated, sigterm_raises
from .threads import set_wait_policy

__all__ = ["main"]

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
NEEDED_BY = {
    "predict": ("cv2", "jsonargparse", "yaml", "tqdm"),
    **dict.fromkeys(("-h", "--help", "--version"), ("jsonargparse", "yaml")),
}
"""By a command, what it needs in place of these; what else its options ask for, such as torch, they name themselves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status.

    2, as argparse has it, where the command line or a configuration is wrong by itself; 1 where the command failed;
    130 after Ctrl-C, 143 after SIGTERM. Errors are one line on stderr; REFINEDET_TRACEBACK=1 in the environment raises
    them instead.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    needed = NEEDED_BY.get(argv[0], NEEDED) if argv else NEEDED
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return _fail(f"the detectors need {', '.join(missing)}, not installed here: {install_command(*missing)}", 1)
    from ..usage import UsageError
    from .parser import parse, top_level

    if not argv:
        print(top_level().format_help(), end="", file=sys.stderr)
        return 2
    set_wait_policy(os.environ)
    keep_freed_memory()
    try:
        function, options = parse(argv)
        with sigterm_raises():
            function(**options)
        return 0
    except (KeyboardInterrupt, Terminated) as error:
        terminated = isinstance(error, Terminated)
        print(f"refinedet: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        return 143 if terminated else 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("REFINEDET_TRACEBACK"):
            raise
        status: int | None = getattr(error, "exit_status", None)  # of a run that a signal ended, as it was asked to
        if status is not None:
            print(f"refinedet: {error}", file=sys.stderr)
            return status
        return _fail(_in_words(error), 2 if isinstance(error, UsageError) else 1)


def _in_words(error: Exception) -> str:
    """What an error says, in one line; of a kind that nobody here raises to be read, its name as well."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, TypeError, OSError, ImportError, RuntimeError)) and text:
        return text
    name = type(error).__name__
    return f"{name}: {text} (REFINEDET_TRACEBACK=1 in the environment shows where)" if text else name


def _fail(text: str, status: int) -> int:
    print(f"refinedet: error: {text}", file=sys.stderr)
    return status
