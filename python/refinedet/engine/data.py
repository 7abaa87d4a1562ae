"""The loaders of a run."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from ..data import DetectionLoader, EvalPipeline, TrainPipeline, build_loader
from ..data.dataset import DetectionDataset
from ..data.pipeline_dataset import Pipeline
from ..structures import Batch, Normalization
from .config import DataConfig
from .epoch_loader import EpochLoader
from .processes import share_of_batch

logger = logging.getLogger(__name__)


def eval_pipeline(size: int | tuple[int, int], normalization: Normalization) -> EvalPipeline:
    return EvalPipeline(size, mean=normalization.mean, std=normalization.std, order=normalization.order)


class LoaderConfig(Protocol):
    """What `BatchData` reads of a configuration, see `DataConfig`."""

    batch_size: int
    eval_batch_size: int
    workers: int


class BatchData(pl.LightningDataModule):
    """Training and validation loaders, whose samples go through these pipelines.

    processes: that share a batch. A step of several sees the images that a step of one would see.
    """

    def __init__(
        self,
        config: LoaderConfig,
        train_set: Any,
        val_set: Any,
        train_pipeline: Pipeline,
        eval_pipeline: Pipeline,
        *,
        seed: int = 0,
        processes: int = 1,
    ) -> None:
        super().__init__()
        self.config = config
        self.share = share_of_batch(config.batch_size, processes)
        self.seed = seed
        self.train_set, self.val_set = train_set, val_set
        self._train_loader: DetectionLoader | None = None
        self._training: EpochLoader | None = None
        self.train_pipeline, self.eval_pipeline = train_pipeline, eval_pipeline
        if config.batch_size > len(train_set):
            raise ValueError(
                f"data.batch_size: expected at most the {len(train_set)} training images, got {config.batch_size}"
            )

    def train_dataloader(self) -> EpochLoader:
        self._train_loader = build_loader(
            self.train_set,
            self.train_pipeline,
            batch_size=self.share,
            shuffle=True,
            seed=self.seed,
            drop_last=True,
            workers=self.config.workers,
            pin_memory=self._on_gpu,
            on_unreadable="replace" if self.train_set.on_error == "skip" else "raise",
        )
        self._training = EpochLoader(self._train_loader, self._position)
        return self._training

    @property
    def waited(self) -> float:
        """Seconds that training has waited for batches."""
        return 0.0 if self._training is None else self._training.waited

    def _position(self) -> tuple[int, int]:
        """Epoch, and batches of it that are done, of the trainer."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epochs: Any = loop.epoch_progress.current
        return epochs.processed, loop.epoch_loop.batch_progress.current.ready

    def val_dataloader(self) -> DataLoader[Batch]:
        return build_loader(
            self.val_set,
            self.eval_pipeline,
            batch_size=self.config.eval_batch_size,
            workers=min(self.config.workers, 1),
            pin_memory=self._on_gpu,
            persistent_workers=False,
            on_unreadable="blank" if self.val_set.on_error == "skip" else "raise",
        )

    def teardown(self, stage: str) -> None:
        """Says how many images could not be read while the model trained."""
        lost = {} if self._train_loader is None else self._train_loader.unreadable
        if stage == "fit" and lost:
            logger.warning(
                "%d of %d training images could not be read; others stood in for them", len(lost), len(self.train_set)
            )

    @property
    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


class DetectionData(BatchData):
    """Training and validation loaders for a network with inputs of `size` pixels a side. processes: see `BatchData`."""

    def __init__(
        self,
        config: DataConfig,
        train_set: DetectionDataset,
        val_set: DetectionDataset,
        *,
        size: int,
        normalization: Normalization,
        seed: int = 0,
        processes: int = 1,
    ) -> None:
        pipeline = TrainPipeline(
            size,
            mean=normalization.mean,
            std=normalization.std,
            order=normalization.order,
            **augment_options(config.augment),
        )
        evaluated = eval_pipeline(size, normalization)
        super().__init__(config, train_set, val_set, pipeline, evaluated, seed=seed, processes=processes)


def augment_options(options: dict[str, Any]) -> dict[str, Any]:
    """YAML has lists where the pipeline wants tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
