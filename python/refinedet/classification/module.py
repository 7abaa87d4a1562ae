"""A classifier as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from ..engine.base_module import NonFiniteLoss, TrainedModule
from ..engine.config import OptimConfig
from ..structures import Batch
from .classifier import Classifier

METRIC = "top1"
"""Decides which network is best."""
FIVE = 5


class ClassificationModule(TrainedModule):
    """Training with smoothed labels; top-1 and top-5 accuracy, from 0 to 1, over all processes.

    label_smoothing: see `PretrainConfig`. Others: see `TrainedModule`.
    """

    def __init__(
        self,
        model: Classifier,
        optim: OptimConfig,
        *,
        label_smoothing: float = 0.1,
        channels_last: bool = True,
        frozen: Sequence[str] = (),
        time_share: Callable[[], float] = lambda: 0.0,
        resumed: bool = False,
    ) -> None:
        super().__init__(
            model, optim, channels_last=channels_last, frozen=frozen, time_share=time_share, resumed=resumed
        )
        self.label_smoothing = label_smoothing
        self.places: dict[Any, int] = {}  # of the right class among the scores of an image, by its id

    def training_step(self, batch: Batch, index: int) -> Tensor:
        loss = F.cross_entropy(self(batch.images), batch.gt_labels - 1, label_smoothing=self.label_smoothing)
        if not torch.isfinite(loss):
            raise NonFiniteLoss(self.global_step, {"loss": float(loss.detach())}, batch.paths)
        self.log("loss", loss.detach(), batch_size=len(batch))
        return loss

    def on_validation_epoch_start(self) -> None:
        self.places = {}

    def validation_step(self, batch: Batch, index: int) -> None:
        model = self.evaluated().eval()
        logits = model(batch.images.contiguous(memory_format=self.memory_format)).float()
        own = logits.gather(1, batch.gt_labels[:, None] - 1)
        # of equal scores none goes first, so that a network that says nothing is not right; nor is one that says NaN
        places = (~(logits < own)).sum(dim=1) - 1
        self.places.update(zip(batch.image_ids, places.tolist(), strict=True))
        self.places.update(dict.fromkeys((lost.image_id for lost in batch.unreadable), logits.shape[1]))

    def on_validation_epoch_end(self) -> None:
        if self.trainer.world_size > 1:
            parts: list[Any] = [None] * self.trainer.world_size
            dist.all_gather_object(parts, self.places)
            for part in parts:  # an image may be in several, so that all have as many
                self.places.update(part)
        places = list(self.places.values())
        self.last_metrics = {
            METRIC: sum(place < 1 for place in places) / len(places),
            "top5": sum(place < FIVE for place in places) / len(places),
            "images": len(places),
        }
        accuracies = {name: float(self.last_metrics[name]) for name in (METRIC, "top5")}
        self.log_dict(accuracies, rank_zero_only=False, sync_dist=False)
