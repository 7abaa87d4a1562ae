"""SIGTERM ends a command as Ctrl-C does: what it has open is closed first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM, as Python's KeyboardInterrupt is SIGINT."""


@contextmanager
def sigterm_raises() -> Generator[None, None, None]:
    """SIGTERM raises `Terminated` meanwhile; not outside the main thread, where Python allows no handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
