"""Checkpoints to resume from: when they are written, what they hold, and whether one fits the run that resumes."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from ..detectors.registration import ModelSpec
from .stopping import Interrupted, StopRequest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILE = "last.ckpt"
RUN = "refinedet_run"  # key of what the run was, in a checkpoint
TOTAL = "batch_of_all_processes"  # key of a run whose data.batch_size is; without it, it was that of each process


class Checkpoints(Checkpoint):
    """Writes `folder/last.ckpt` before every evaluation, at the end, every `minutes` besides, and when a signal came.

    All are written at the end of a step that moved the weights, from which a run goes on as if nothing had happened. A
    run that resumes before an evaluation begins with it.
    """

    def __init__(self, folder: Path, run: dict[str, Any], *, minutes: float, command: str) -> None:
        self.file = folder / FILE
        self.run = run
        self.stop = StopRequest()
        self.seconds = 60 * minutes
        self.command = command
        self.step = 0
        self.evaluation_due = False
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.listen()  # not before: Lightning's own handler would end the run without a word
        self._saved_at = time.monotonic()
        self.step = trainer.global_step
        if self.evaluation_due:  # as Lightning's training loop does it
            trainer.validating = True
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True
            self.evaluation_due = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            return  # gradients are being accumulated
        self.step = trainer.global_step
        epoch_ends = bool(trainer.fit_loop.epoch_loop.batch_progress.is_last_batch)
        run_ends = trainer.should_stop or (0 <= trainer.max_steps <= self.step)
        wanted, signum = self._agree(trainer, time.monotonic() - self._saved_at >= self.seconds)
        every = trainer.check_val_every_n_epoch or 1
        self.evaluation_due = epoch_ends and (trainer.current_epoch + 1) % every == 0
        if not (self.evaluation_due or run_ends or wanted or signum):
            return
        trainer.save_checkpoint(self.file)
        self.evaluation_due = False
        self._saved_at = time.monotonic()
        if signum:
            self._interrupt(signum)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        # Several processes may have different numbers of batches: they wait for the next step.
        if self.stop.signum is not None and trainer.world_size == 1:
            self._interrupt(self.stop.signum)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.stop.release()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[RUN] = {**self.run, "evaluation_due": self.evaluation_due}
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            checkpoint["loops"]["fit_loop"] = at_next_epoch(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.evaluation_due = checkpoint[RUN]["evaluation_due"]

    def _agree(self, trainer: pl.Trainer, due: bool) -> tuple[bool, int]:
        """Whether a checkpoint is due and which signal came, in any process."""
        signum = self.stop.signum or 0
        if trainer.world_size == 1:
            return due, signum
        both = torch.tensor([int(due), signum], device=trainer.strategy.root_device)
        both = trainer.strategy.reduce(both, reduce_op="max")
        return bool(both[0]), int(both[1])

    def _interrupt(self, signum: int) -> None:
        raise Interrupted(signum, f"interrupted at step {self.step}, kept in {self.file}; to go on: {self.command}")


def at_next_epoch(fit_loop: dict[str, Any]) -> dict[str, Any]:
    """The state of Lightning's loops after the last batch of an epoch, as that before the first of the next.

    Lightning takes it for the middle of an epoch, and would resume without the hooks of the next one's start.
    """
    state = dict(fit_loop)
    epoch = {part: dict(numbers) for part, numbers in state["epoch_progress"].items()}
    for numbers in epoch.values():
        numbers.update(dict.fromkeys(("ready", "started", "processed", "completed"), numbers["started"]))
    state["epoch_progress"] = epoch
    batch = dict(state["epoch_loop.batch_progress"])
    done = batch["total"]["processed"]
    batch["total"] = dict.fromkeys(batch["total"], done)
    batch["current"] = dict.fromkeys(batch["current"], 0)
    batch["is_last_batch"] = False
    state["epoch_loop.batch_progress"] = batch
    return state


def describe_run(
    config: DataclassInstance, spec: ModelSpec, class_names: list[str], *, images: int, processes: int
) -> dict[str, Any]:
    """What a run is by its nature, in plain values: what must be the same when it is resumed."""
    return {
        "model": {"name": spec.name, "options": spec.options},
        "class_names": list(class_names),
        "images": images,
        "processes": processes,
        TOTAL: True,
        "config": dataclasses.asdict(config),
    }
