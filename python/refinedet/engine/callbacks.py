"""What a run shows and leaves while it trains."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tqdm import tqdm

from ..weights import save_model
from .module import DetectionModule


class Progress(pl.Callback):
    """One bar over the whole run with the time left; in a log file, one line per epoch."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.bar: tqdm[Any] | None = None
        self.started = time.monotonic()
        self.first_step = 0

    @rank_zero_only
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self.first_step = trainer.global_step
        if sys.stderr.isatty():
            total = int(trainer.estimated_stepping_batches)
            self.bar = tqdm(total=total, initial=trainer.global_step, desc="training", dynamic_ncols=True)

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)
            self.bar.set_postfix_str(self._state(trainer), refresh=False)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is None:
            done, total = trainer.global_step, int(trainer.estimated_stepping_batches)
            elapsed = time.monotonic() - self.started
            left = elapsed / max(1, done - self.first_step) * (total - done)
            print(
                f"epoch {trainer.current_epoch + 1}  step {done}/{total}  {self._state(trainer)}  "
                f"elapsed {_clock(elapsed)}  left {_clock(left)}",
                flush=True,
            )

    @rank_zero_only
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.bar is not None:
            self.bar.close()

    def _state(self, trainer: pl.Trainer) -> str:
        seen = trainer.callback_metrics
        parts = [f"loss {float(seen['loss']):.3f}"] if "loss" in seen else []
        if self.metric in seen:
            parts.append(f"{self.metric} {float(seen[self.metric]):.3f}")
        return "  ".join(parts)


class SaveModels(pl.Callback):
    """Writes `last.safetensors` after every evaluation, and `best.safetensors` when the metric rose."""

    def __init__(self, folder: Path, class_names: list[str], metric: str) -> None:
        self.folder = folder
        self.class_names = class_names
        self.metric = metric
        self.best = float("-inf")
        self.best_epoch = -1
        self.evaluated_step = -1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.evaluated_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DetectionModule)
        value = pl_module.last_metrics[self.metric]  # None where there is nothing to measure
        info = {"epoch": trainer.current_epoch, "step": trainer.global_step, self.metric: value}
        save_model(pl_module.model, self.folder / "last.safetensors", class_names=self.class_names, info=info)
        if value is not None and value > self.best:
            self.best, self.best_epoch = value, trainer.current_epoch
            save_model(pl_module.model, self.folder / "best.safetensors", class_names=self.class_names, info=info)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
