"""Processes that a study starts, a few at a time, and ends when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Processes:
    """Those that run. Several threads may start them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopped = threading.Lock(), threading.Event()

    def run(self, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> int:
        """The status of a command, whose words are added to `log`. KeyboardInterrupt where all are to end."""
        with open(log, "ab") as file:
            with self._lock:
                if self._stopped.is_set():
                    raise KeyboardInterrupt
                process = subprocess.Popen(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=env,
                    cwd=cwd,
                    start_new_session=True,  # Ctrl-C is for this process, which passes it on
                )
                self._running.add(process)
            status = process.wait()
            with self._lock:
                self._running.discard(process)
        if self._stopped.is_set():
            raise KeyboardInterrupt
        return status

    def stop(self) -> None:
        """Ends what runs, and lets nothing begin."""
        with self._lock:
            self._stopped.set()
            for process in self._running:
                process.terminate()

    def in_parallel(self, items: Sequence[T], jobs: int, work: Callable[[T], None]) -> None:
        """`work` for each of the items, in their order, `jobs` at a time; SIGINT and SIGTERM end them all and raise
        KeyboardInterrupt."""

        def begin(item: T) -> None:
            if not self._stopped.is_set():
                work(item)

        with _sigterm_interrupts(), ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(begin, item) for item in items]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self.stop()
                raise


def last_line(log: Path) -> str:
    """The last words of a process, and where the others stand."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1].strip() if lines else 'no output'} ({log})"


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
