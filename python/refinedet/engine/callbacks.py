"""What a run leaves while it trains: models, and pictures for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from ..data.dataset import DetectionDataset
from ..evaluation.results import from_padded
from ..visualize import draw_detections
from ..weights import save_model
from .base_module import TrainedModule
from .run_folder import BEST, LAST


class SaveModels(pl.Callback):
    """Writes `last.safetensors` after every evaluation, and `best.safetensors` when the metric rose.

    select: "best", or "last", where no metric chooses and there is no `best.safetensors`. The entry "selected" in the
    info of a file says which of the two it is.
    """

    BEST, LAST = BEST, LAST

    def __init__(self, folder: Path, class_names: list[str], metric: str, select: str = "best") -> None:
        self.best_file, self.last_file = folder / self.BEST, folder / self.LAST
        self.class_names = class_names
        self.metric = metric
        self.select = select
        self.best = float("-inf")
        self.best_epoch = self.best_step = -1
        self.best_metrics: dict[str, Any] | None = None
        self.last_epoch = self.last_step = -1
        self.last_value: float | None = None
        self.last_metrics: dict[str, Any] = {}
        self.evaluated_step = -1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        module = cast(TrainedModule, pl_module)
        self.evaluated_step = self.last_step = trainer.global_step
        self.last_epoch = (trainer.global_step - 1) // module.steps_per_epoch
        self.last_metrics = module.last_metrics
        self.last_value = value = module.last_metrics[self.metric]  # None where there is nothing to measure
        better = self.select == "best" and value is not None and value > self.best
        if better:
            self.best, self.best_epoch, self.best_step = value, self.last_epoch, self.last_step
            self.best_metrics = module.last_metrics
        if not trainer.is_global_zero:
            return
        info = {"epoch": self.last_epoch, "step": self.last_step, self.metric: value}
        for selected, file in (("last", self.last_file), *([("best", self.best_file)] if better else [])):
            self.write(module.evaluated(), file, {**info, "selected": selected})

    def write(self, model: Any, file: Path, info: dict[str, Any]) -> None:
        """Writes one of the files."""
        save_model(model, file, class_names=self.class_names, info=info)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "best_metrics": self.best_metrics,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self.best_step, self.best_metrics = state_dict["best_step"], state_dict["best_metrics"]


class ValidationImages(pl.Callback):
    """Gives TensorBoard the first validation images with what was found in them, at every evaluation."""

    COUNT = 4
    SCORE = 0.3  # from which a detection is drawn

    def __init__(self, dataset: DetectionDataset) -> None:
        self.dataset = dataset

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx > 0 or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        writers = [log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger)]
        lost = {one.image_id for one in batch.unreadable}
        records = [
            record
            for record in from_padded(outputs, batch.original_sizes, batch.image_ids)
            if record.image_id not in lost
        ]
        places = {image_id: index for index, image_id in enumerate(self.dataset.image_ids)}
        for place, record in enumerate(records[: self.COUNT]):
            image = self.dataset[places[record.image_id]].image
            shown = record.scores >= self.SCORE
            drawn = draw_detections(
                image, record.boxes[shown], record.labels[shown], record.scores[shown], self.dataset.class_names
            )
            for writer in writers:
                writer.add_image(
                    f"validation/{place}",
                    torch.from_numpy(np.ascontiguousarray(drawn[:, :, ::-1])),
                    trainer.global_step,
                    dataformats="HWC",
                )
