"""A detector as a LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor

from ..detectors import Detector
from ..evaluation import Evaluator
from ..structures import Batch
from .config import OptimConfig
from .freeze import freeze, freeze_statistics
from .optim import build_optimizer, build_schedule

TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")


class NonFiniteLoss(RuntimeError):
    """The loss became NaN or infinite. `paths`: the images of that batch."""

    def __init__(self, iteration: int, terms: dict[str, float], paths: list[str]) -> None:
        self.paths = paths
        shown = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        super().__init__(
            f"the loss is not finite at iteration {iteration} ({shown}); images of this batch: {', '.join(paths)}. "
            "The weights are those before this step. A lower optim.lr, a warm-up or train.clip_norm usually helps"
        )


class DetectionModule(pl.LightningModule):
    """Training steps with the loss guard, and evaluation over all processes.

    frozen: names of modules of the model that do not learn, see `freeze`.
    """

    def __init__(
        self,
        model: Detector,
        optim: OptimConfig,
        evaluator: Evaluator | None = None,
        *,
        kind: str = "coco",
        channels_last: bool = True,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.optim_config = optim
        self.evaluator = evaluator
        self.kind = kind
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        torch.nn.Module.to(self.model, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.last_metrics: dict[str, Any] = {}
        self.frozen = tuple(frozen)
        freeze(self.model, self.frozen)

    def forward(self, images: Tensor) -> Any:
        return self.model(images.contiguous(memory_format=self.memory_format))

    def train(self, mode: bool = True) -> DetectionModule:
        """As `nn.Module.train`, but for the batch norms of frozen modules."""
        super().train(mode)
        if mode:
            freeze_statistics(self.model, self.frozen)
        return self

    def on_train_epoch_start(self) -> None:
        freeze_statistics(self.model, self.frozen)  # Lightning gives modules their modes back one by one

    def training_step(self, batch: Batch, index: int) -> Tensor:
        losses = self.model.loss(self(batch.images), batch)
        total = losses["total"]
        if not torch.isfinite(total):
            raise NonFiniteLoss(self.global_step, {k: float(losses[k].detach()) for k in TERMS}, batch.paths)
        self.log("loss", total.detach(), batch_size=len(batch))
        for name in TERMS:
            self.log(f"loss/{name}", losses[name].detach(), batch_size=len(batch))
        for name in losses:
            if name != "total" and name not in TERMS:
                self.log(f"count/{name}", losses[name].detach().float(), batch_size=len(batch))
        return total

    def on_validation_epoch_start(self) -> None:
        if self.evaluator is not None:
            self.evaluator.reset()

    def validation_step(self, batch: Batch, index: int) -> None:
        assert self.evaluator is not None
        self.evaluator.update(self(batch.images), batch)

    def on_validation_epoch_end(self) -> None:
        assert self.evaluator is not None
        if self.trainer.world_size > 1:
            states: list[Any] = [None] * self.trainer.world_size
            dist.all_gather_object(states, self.evaluator.state())
            self.evaluator.reset()
            for state in states:  # every process computes the same, so that all agree on the best checkpoint
                self.evaluator.merge(state)
        self.last_metrics = self.evaluator.compute(self.kind, partial=self.trainer.sanity_checking)
        scalars = {k: v for k, v in self.last_metrics.items() if isinstance(v, (int, float)) and k[:2] in _METRICS}
        self.log_dict({k: float(v) for k, v in scalars.items()}, rank_zero_only=False, sync_dist=False)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model, self.optim_config)
        self.trainer.fit_loop.setup_data()
        total = int(self.trainer.estimated_stepping_batches)
        per_epoch = max(1, int(self.trainer.num_training_batches) // self.trainer.accumulate_grad_batches)
        schedule = build_schedule(optimizer, self.optim_config, total=total, per_epoch=per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


_METRICS = ("AP", "AR", "mA")
