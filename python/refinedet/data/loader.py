"""From a data set to batches: the pipeline per sample, workers, order and seeds."""

from __future__ import annotations

from collections.abc import Sized
from functools import partial
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..structures import Batch, Normalization, Sample, collate
from .sampler import EpochSampler, Remainder, SampleKey
from .seeding import sample_rng


class Pipeline(Protocol):
    """What a loader needs of TrainPipeline, EvalPipeline or one of your own."""

    @property
    def output_size(self) -> tuple[int, int]: ...

    @property
    def normalization(self) -> Normalization: ...

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample: ...


class PipelineDataset(Dataset[Sample]):
    """A data set whose samples have gone through a pipeline.

    Asked for SampleKey(epoch, item), or for item alone, which is epoch 0. The random numbers of a
    sample come from seed, epoch and item and nothing else.
    """

    def __init__(self, dataset: Dataset[Sample], pipeline: Pipeline, *, seed: int = 0) -> None:
        self.dataset = dataset
        self.pipeline = pipeline
        self.seed = seed

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, key: SampleKey | int) -> Sample:
        epoch, item = key if isinstance(key, tuple) else (0, key)
        return self.pipeline(self.dataset[item], sample_rng(self.seed, epoch, item))


def build_loader(
    dataset: Dataset[Sample],
    pipeline: Pipeline,
    *,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    drop_last: bool = False,
    workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    remainder: Remainder | None = None,
    pin_memory: bool = False,
    persistent_workers: bool = True,
    prefetch: int = 2,
    normalize: bool = False,
) -> DataLoader[Batch]:
    """A DataLoader of Batches that gives the same ones whatever the number of workers.

    Call `set_epoch(loader, epoch)` before every epoch (Lightning does it): order and augmentation
    follow from seed and epoch, so a run resumed at an epoch sees what an uninterrupted one does.
    batch_size: per process. drop_last: leave out the last batch where it is not full.
    rank, world_size, remainder: as for EpochSampler; remainder None is "drop" with drop_last, else
    "pad", which repeats images when there are several processes: to evaluate then, take each
    image id once, or ask for "uneven". prefetch: batches that each worker prepares in advance.
    normalize: give float images, as the pipeline's normalization says, instead of uint8 ones, which
    detectors normalize themselves.
    Neither reads nor moves torch's global random numbers. Raises ValueError.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: expected 1 or more, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers: expected 0 or more, got {workers}")
    if remainder is None:
        remainder = "drop" if drop_last else "pad"
    sampler = EpochSampler(
        cast(Sized, dataset),
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
        remainder=remainder,
    )
    for_workers: dict[str, Any] = {}
    if workers:
        for_workers = {
            "persistent_workers": persistent_workers,
            "prefetch_factor": prefetch,
            "worker_init_fn": _start_worker,
        }
        if getattr(dataset, "caches_images", False):
            cast(Any, dataset).preload()  # before the workers are forked, so that they share it
    return DataLoader(
        cast(Any, PipelineDataset(dataset, pipeline, seed=seed)),
        batch_size=batch_size,
        sampler=cast(Any, sampler),
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=partial(
            collate, normalization=pipeline.normalization if normalize else None, size=pipeline.output_size
        ),
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),
        **for_workers,
    )


def set_epoch(loader: DataLoader[Any], epoch: int) -> None:
    """Tells a loader of build_loader which epoch comes next."""
    if not isinstance(loader.sampler, EpochSampler):
        raise TypeError(f"loader: expected one of build_loader, got {type(loader.sampler).__name__}")
    loader.sampler.set_epoch(epoch)


def _start_worker(worker: int) -> None:
    # Workers are processes enough: threads of OpenCV in each would fight over the same cores.
    cv2.setNumThreads(0)
