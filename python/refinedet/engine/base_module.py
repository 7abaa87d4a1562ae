"""What every network here is trained as: its optimizer and schedule, frozen parts, memory format."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from .config import OptimConfig
from .freeze import freeze, freeze_statistics
from .optim import build_optimizer, build_schedule, take_over


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite. `paths`: the images of that batch."""

    def __init__(self, iteration: int, terms: dict[str, float], paths: list[str]) -> None:
        self.paths = paths
        shown = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        super().__init__(
            f"the loss is not finite at iteration {iteration} ({shown}); images of this batch: {', '.join(paths)}. "
            "The weights are those before this step. A lower optim.lr, a warm-up or train.clip_norm usually helps"
        )


class TrainedModule(pl.LightningModule):
    """A network with its optimizer; a subclass has the training step, and the evaluation.

    frozen: names of modules of the model that do not learn, see `freeze`. time_share: tells how much of the run's time
    is over, see `lr_factor`. resumed: the run goes on from a checkpoint, with the rates that optim says.

    evaluated: gives the model that evaluations run and files get, which is `model` itself or an average of it.
    """

    def __init__(
        self,
        model: nn.Module,
        optim: OptimConfig,
        *,
        channels_last: bool = True,
        frozen: Sequence[str] = (),
        time_share: Callable[[], float] = lambda: 0.0,
        resumed: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluated: Callable[[], Any] = lambda: self.model
        self.time_share = time_share
        self.resumed = resumed
        self.optim_config = optim
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        torch.nn.Module.to(self.model, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.steps_per_epoch = 1  # of the weights, not of batches
        self.last_metrics: dict[str, Any] = {}
        self.frozen = tuple(frozen)
        freeze(self.model, self.frozen)

    def forward(self, images: Tensor) -> Any:
        return self.model(images.contiguous(memory_format=self.memory_format))

    def train(self, mode: bool = True) -> TrainedModule:
        """As `nn.Module.train`, but for the batch norms of frozen modules."""
        super().train(mode)
        if mode:
            freeze_statistics(self.model, self.frozen)
        return self

    def on_train_start(self) -> None:
        freeze_statistics(self.model, self.frozen)  # a run that resumes within an epoch has no start of one
        if self.resumed:
            schedule = self.lr_schedulers()
            assert isinstance(schedule, LambdaLR)
            take_over(self.trainer.optimizers[0], schedule, self.model, self.optim_config)

    def on_train_epoch_start(self) -> None:
        freeze_statistics(self.model, self.frozen)  # Lightning gives modules their modes back one by one

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.optim_config)
        self.trainer.fit_loop.setup_data()
        total = self.trainer.estimated_stepping_batches
        batches = int(self.trainer.num_training_batches)
        self.steps_per_epoch = per_epoch = math.ceil(batches / self.trainer.accumulate_grad_batches)
        schedule = build_schedule(optimizer, self.optim_config, total=total, per_epoch=per_epoch, share=self.time_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
