"""The data sets and loaders of a run."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from ..data import EvalPipeline, TrainPipeline, build_dataset, build_loader
from ..data.dataset import DetectionDataset
from ..structures import Batch, Normalization
from .config import DataConfig, SplitConfig


def open_split(config: DataConfig, part: str, classes: list[str] | None = None) -> DetectionDataset:
    """The data set of "train", "val" or "test"; test falls back on val where it is empty.

    classes: the names that the labels must stand for, such as those of the training part.
    """
    split: SplitConfig = getattr(config, part)
    if part == "test" and split == SplitConfig():
        part, split = "val", config.val
    if split == SplitConfig():
        wanted = "split" if config.format == "voc" else "image_dir and annotation_file"
        raise ValueError(f"data.{part}: expected {wanted}, got nothing")
    arguments: dict[str, Any] = {
        "root": config.root,
        "split": split.split,
        "extra_parts": [(root, name) for root, name in split.extra_parts] if split.extra_parts else None,
        "image_dir": split.image_dir,
        "annotation_file": split.annotation_file,
        "classes": classes if classes is not None else config.classes,
        "on_error": config.on_error,
        "cache_images": config.cache_images,
    }
    if config.format == "voc" and part == "train":
        arguments["use_difficult"] = config.use_difficult
    if config.format == "coco" and part != "train":
        arguments["drop_crowd"] = False  # COCO's metrics ignore detections on crowds, so they have to be there
    return build_dataset(config.format, **arguments)


def eval_pipeline(size: int | tuple[int, int], normalization: Normalization) -> EvalPipeline:
    return EvalPipeline(size, mean=normalization.mean, std=normalization.std, order=normalization.order)


class DetectionData(pl.LightningDataModule):
    """Training and validation loaders for a network with inputs of `size` pixels a side."""

    def __init__(
        self,
        config: DataConfig,
        train_set: DetectionDataset,
        val_set: DetectionDataset,
        *,
        size: int,
        normalization: Normalization,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.train_set, self.val_set = train_set, val_set
        self.train_pipeline = TrainPipeline(
            size,
            mean=normalization.mean,
            std=normalization.std,
            order=normalization.order,
            **augment_options(config.augment),
        )
        self.eval_pipeline = eval_pipeline(size, normalization)
        if config.batch_size > len(train_set):
            raise ValueError(
                f"data.batch_size: expected at most the {len(train_set)} training images, got {config.batch_size}"
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        return build_loader(
            self.train_set,
            self.train_pipeline,
            batch_size=self.config.batch_size,
            shuffle=True,
            seed=self.seed,
            drop_last=True,
            workers=self.config.workers,
            pin_memory=self._on_gpu,
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        return build_loader(
            self.val_set,
            self.eval_pipeline,
            batch_size=self.config.eval_batch_size,
            workers=min(self.config.workers, 1),
            pin_memory=self._on_gpu,
            persistent_workers=False,
        )

    @property
    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


def augment_options(options: dict[str, Any]) -> dict[str, Any]:
    """YAML has lists where the pipeline wants tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
