"""A detector as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..detectors import Detector
from ..evaluation import Evaluator
from ..structures import Batch
from .base_module import NonFiniteLoss, TrainedModule
from .config import OptimConfig

TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")


class DetectionModule(TrainedModule):
    """Training steps with the loss guard, and evaluation over all processes.

    multi_scale: sides of the input, of which every step takes one at random, the same in all processes. Others: see
    `TrainedModule`.
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
        super().__init__(
            model, optim, channels_last=channels_last, frozen=frozen, time_share=time_share, resumed=resumed
        )
        self.model: Detector
        self.evaluated: Callable[[], Detector]
        self.multi_scale = [model.input_side(side) for side in multi_scale]
        self.seed = seed
        self.evaluator = evaluator
        self.kind = kind

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


_METRICS = ("AP", "AR", "mA")
