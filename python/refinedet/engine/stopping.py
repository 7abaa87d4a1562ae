"""Ends of a run before its length: Ctrl-C, SIGTERM, and a time limit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import lightning.pytorch as pl

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal ended the run, after a checkpoint. exit_status: what a shell expects of such a process."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum
        self.exit_status = 128 + signum


class StopRequest:
    """SIGINT and SIGTERM as a wish that is fulfilled after the step; the second signal acts at once, as without this.

    Between `listen` and `release`; outside the main thread, where Python allows no handlers, signals act as they did.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                self._before[signum] = signal.signal(signum, self._note)

    def release(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self.release()
        text = f"\n{signal.Signals(signum).name}: stopping after this step; once more stops at once\n"
        os.write(sys.stderr.fileno(), text.encode())  # a handler must not wait for a lock of print's


class TimeLimit(pl.Callback):
    """Ends a run so that it, its last evaluation included, has taken about `minutes`, over all its resumptions.

    share: how much of the time is over, 0 to 1; all processes go by the clock of the first.
    """

    def __init__(self, minutes: float, evaluated_images: int) -> None:
        self.seconds = 60 * minutes
        self.evaluated_images = evaluated_images
        self.share = 0.0
        self.elapsed = 0.0
        self._last = time.monotonic()
        self._images = 0
        self._training = 0.0
        self._evaluation: float | None = None
        self._evaluation_began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        passed = self._tick()
        self._training += passed
        self._images += len(batch)
        total = max(1e-9, self.seconds - self._reserve())
        self.share = min(1.0, trainer.strategy.broadcast(self.elapsed / total))
        if self.share >= 1:
            trainer.should_stop = True

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._evaluation_began = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._evaluation = time.monotonic() - self._evaluation_began
        self._tick()

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed": self.elapsed, "share": self.share}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.elapsed, self.share = state_dict["elapsed"], state_dict["share"]

    def _tick(self) -> float:
        now = time.monotonic()
        passed, self._last = now - self._last, now
        self.elapsed += passed
        return passed

    def _reserve(self) -> float:
        """Seconds for the last evaluation: those of the one before, or a third of training on as many images."""
        if self._evaluation is not None:
            return self._evaluation
        return self._training / max(1, self._images) * self.evaluated_images / 3
