"""The exponential moving average of a model's weights, which is what gets evaluated and saved."""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from .base_module import TrainedModule


class WeightAverage(pl.Callback):
    """Averages weights and batch-norm statistics after every step; evaluations and saved models are the average's.

    decay: of the average before, at most. It is (1 + n) / (10 + n) at update n where that is less, so that the first
    steps of a run are soon forgotten.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: AveragedModel | None = None
        self.step = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        module = cast(TrainedModule, pl_module)
        average = AveragedModel(module.model, avg_fn=self._update, use_buffers=True)
        average.requires_grad_(False).eval()
        self.average = average
        module.evaluated = lambda: average.module

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.average is not None:
            self.average.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self.step:  # with accumulation, not after every batch
            assert self.average is not None
            self.step = trainer.global_step
            self.average.update_parameters(cast(TrainedModule, pl_module).model)

    def state_dict(self) -> dict[str, Any]:
        assert self.average is not None
        return {"step": self.step, "average": self.average.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.average is not None
        self.step = state_dict["step"]
        self.average.load_state_dict(state_dict["average"])

    def _update(self, averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        count = int(updates)
        return averaged + (current - averaged) * (1 - min(self.decay, (1 + count) / (10 + count)))
