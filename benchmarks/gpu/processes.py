"""Processes with an end: started with a log, stopped with all that they have started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]


class Process(Protocol):
    def code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        ...

    def kill(self) -> None:
        """Nothing where it has ended."""
        ...


class Machine(Protocol):
    """Where the course runs: `RealMachine`, or one with a clock of its own (`rehearsal.FakeMachine`)."""

    def clock(self) -> float: ...
    def wait(self, seconds: float) -> None: ...
    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
        """Its output goes behind what the log has; FileNotFoundError if there is no such program."""
        ...


class _Family:
    """A process and its children, which are a group of their own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def code(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        if self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class RealMachine:
    def clock(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
        with log.open("a") as file:
            print("$", *command, file=file, flush=True)
            process = subprocess.Popen(
                list(command),
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return _Family(process)


def environment(*packages: Path, **more: str) -> dict[str, str]:
    """That of every process: the package where it lies, further folders of packages, and unbuffered logs."""
    paths = [*map(str, (ROOT, ROOT / "python", *packages)), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "PYTHONUNBUFFERED": "1", **more}
