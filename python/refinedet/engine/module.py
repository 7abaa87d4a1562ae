"""A detector as a LightningModule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ..detectors import Detector
from ..evaluation import Evaluator
from ..structures import Batch
from .config import OptimConfig
from .freeze import freeze, freeze_statistics
from .optim import build_optimizer, build_schedule, take_over

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

    frozen: names of modules of the model that do not learn, see `freeze`. multi_scale: sides of the input, of which
    every step takes one at random, the same in all processes. time_share: tells how much of the run's time is over,
    see `lr_factor`. resumed: the run goes on from a checkpoint, with the rates that optim says.

    evaluated: gives the model that evaluations run and files get, which is `model` itself or an average of it.
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
        multi_scale: Sequence[int] = (),
        seed: int = 0,
        time_share: Callable[[], float] = lambda: 0.0,
        resumed: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.evaluated: Callable[[], Detector] = lambda: self.model
        self.multi_scale = [model.input_side(side) for side in multi_scale]
        self.seed = seed
        self.time_share = time_share
        self.resumed = resumed
        self.optim_config = optim
        self.evaluator = evaluator
        self.kind = kind
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        torch.nn.Module.to(self.model, memory_format=self.memory_format)  # type: ignore[call-overload]
        self.steps_per_epoch = 1  # of the weights, not of batches
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

    def on_train_start(self) -> None:
        freeze_statistics(self.model, self.frozen)  # a run that resumes within an epoch has no start of one
        if self.resumed:
            schedule = self.lr_schedulers()
            assert isinstance(schedule, LambdaLR)
            take_over(self.trainer.optimizers[0], schedule, self.model, self.optim_config)

    def on_train_epoch_start(self) -> None:
        freeze_statistics(self.model, self.frozen)  # Lightning gives modules their modes back one by one

    def training_step(self, batch: Batch, index: int) -> Tensor:
        losses = self.model.loss(self(self._scaled(batch.images)), batch)
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

    def _scaled(self, images: Tensor) -> Tensor:
        """The images in the size of this step. Boxes are fractions of it, so that they stay."""
        if not self.multi_scale:
            return images
        if images.dtype == torch.uint8:
            images = self.model.normalization.apply(images)
        side = int(np.random.default_rng([self.seed, self.global_step]).choice(self.multi_scale))
        return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)

    def on_validation_epoch_start(self) -> None:
        if self.evaluator is not None:
            self.evaluator.reset()

    def validation_step(self, batch: Batch, index: int) -> Any:
        assert self.evaluator is not None
        model = self.evaluated().eval()
        found = model(batch.images.contiguous(memory_format=self.memory_format))
        self.evaluator.update(found, batch)
        return found

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
        total = self.trainer.estimated_stepping_batches
        batches = int(self.trainer.num_training_batches)
        self.steps_per_epoch = per_epoch = math.ceil(batches / self.trainer.accumulate_grad_batches)
        schedule = build_schedule(optimizer, self.optim_config, total=total, per_epoch=per_epoch, share=self.time_share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


_METRICS = ("AP", "AR", "mA")
