"""What a run shows while it trains."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tqdm.auto import tqdm

from .data import BatchData

LINE_SECONDS = 10.0
"""A log file gets no more lines than one in this time, but for those of evaluations."""
LONG_EPOCH = 300.0
"""Seconds after which a line comes in the middle of an epoch."""


class Progress(pl.Callback):
    """One bar over the whole run; in a log file, lines. Both show loss and metric, images per second over the last
    steps, the share of the time that was spent waiting for data, the highest GPU memory, and the time left."""

    def __init__(self, metric: str, data: BatchData) -> None:
        self.metric = metric
        self.data = data
        self.bar: tqdm[Any] | None = None
        self.total: float = 0
        self.started = self.line_at = self.since = time.monotonic()
        self.first_step = 0
        self.images = 0
        self.waited = 0.0
        self.rate = ""

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = self.since = time.monotonic()
        self.line_at = self.started - LINE_SECONDS
        self.first_step = trainer.global_step
        self.total = trainer.estimated_stepping_batches
        if sys.stderr.isatty() or _in_notebook():
            total = None if self.total == float("inf") else int(self.total)
            self.bar = tqdm(total=total, initial=trainer.global_step, desc="training", dynamic_ncols=True)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch) * trainer.world_size
        now = time.monotonic()
        if now - self.since >= 2:
            waited = self.data.waited
            passed = now - self.since
            self.rate = f"{self.images / passed:.1f} images/s  waiting {(waited - self.waited) / passed:.0%}"
            self.images, self.since, self.waited = 0, now, waited
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)
            self.bar.set_postfix_str(self._state(trainer), refresh=False)
        elif now - self.line_at >= LONG_EPOCH:
            self._line(trainer)

    @rank_zero_only
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.since, self.images, self.waited = time.monotonic(), 0, self.data.waited  # evaluating is not training
        if trainer.state.fn == "fit":
            self.line_at = float("-inf")

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        last = trainer.global_step >= self.total
        if self.bar is None and (last or time.monotonic() - self.line_at >= LINE_SECONDS):
            self._line(trainer)

    @rank_zero_only
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _line(self, trainer: pl.Trainer) -> None:
        done = trainer.global_step
        elapsed = time.monotonic() - self.started
        left, of = "", ""
        epoch = trainer.current_epoch + 1
        if self.total != float("inf"):
            remaining = elapsed / max(1, done - self.first_step) * (self.total - done)
            left, of = f"  left {_clock(remaining)}", f"/{int(self.total)}"
        print(
            f"epoch {epoch}  step {done}{of}  {self._state(trainer)}  elapsed {_clock(elapsed)}{left}",
            flush=True,
        )
        self.line_at = time.monotonic()

    def _state(self, trainer: pl.Trainer) -> str:
        seen = trainer.callback_metrics
        parts = [f"loss {float(seen['loss']):.3f}"] if "loss" in seen else []
        if self.metric in seen:
            parts.append(f"{self.metric} {100 * float(seen[self.metric]):.1f}")
        if self.rate:
            parts.append(self.rate)
        device = trainer.strategy.root_device
        if device.type == "cuda":
            parts.append(f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB")
        return "  ".join(parts)


def _in_notebook() -> bool:
    """Whether tqdm.auto would draw a notebook's bar."""
    return tqdm.__module__ != "tqdm.std" and "ipykernel" in sys.modules


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
