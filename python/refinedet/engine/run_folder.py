"""The folder of a run: which one it is, and that nobody else's is written over."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..folders import free_folder, make_folder
from .checkpoints import FILE

LOCK = ".running"
BEST, LAST = "best.safetensors", "last.safetensors"
"""The model files that a run leaves."""


def run_folder(output: str | None, checkpoint: Path | None, usual: str) -> Path:
    """The folder of a run: `output`, or that of the run whose checkpoint it goes on from, or the first free one of
    those named `usual`."""
    if output is not None:
        return Path(output).expanduser()
    if checkpoint is not None:
        return checkpoint.parent.parent
    return free_folder(usual) if is_main_process() else Path(usual)


def check_output(output: str | None, checkpoint: Path | None) -> None:
    """ValueError if the folder holds another run than the one that goes on."""
    if output is None:
        return
    folder = Path(output).expanduser()
    if checkpoint is None or checkpoint.resolve().parent.parent != folder.resolve():
        check_free(folder)


def bring_best(checkpoint: Path, output: Path) -> None:
    """The best model of a run that goes on in another folder, which may have no better one."""
    best = checkpoint.parent.parent / BEST
    if best.exists() and not (output / BEST).exists():
        shutil.copyfile(best, output / BEST)


def check_free(folder: Path) -> None:
    """ValueError if the folder holds a run; one that ended before its first checkpoint does not count."""
    checkpoint = folder / "checkpoints" / FILE
    models = [file for file in (checkpoint, folder / LAST) if file.exists()]
    if models:
        raise ValueError(
            f"output: {folder} holds a run already; give another folder, or go on with it by train.resume={checkpoint}"
        )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, made if need be, as that of one running process; ValueError if another one is running there."""
    make_folder(folder)
    lock = folder / LOCK
    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"output: another process is training into {folder}; give another folder") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def is_main_process() -> bool:
    """Whether this is the process that writes files: the first of those that torchrun or Lightning started."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0
