"""From a data set to batches: the pipeline per sample, workers, order and seeds."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence, Sized
from functools import partial
from typing import Any, cast

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from ..checks import check_integer
from ..structures import Batch, ImageId, Sample, Unreadable, collate
from .pipeline_dataset import IN_A_ROW, UNREADABLE, OnUnreadable, Pipeline, PipelineDataset, all_unreadable
from .sampler import EpochSampler, Remainder, SampleKey

logger = logging.getLogger(__name__)

NAMED = 20  # unreadable images that get a line of their own


class DetectionLoader(DataLoader[Batch]):
    """The DataLoader that `build_loader` makes.

    unreadable: the images that could not be read so far, by id, and why. Each is named in a warning when it is met
    first. Errors of reading are raised here as they were in the worker, without torch's wrapping.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unreadable: dict[ImageId, str] = {}

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        in_a_row: list[Unreadable] = []
        for batch in self._batches():
            if isinstance(batch, Exception):
                try:
                    raise batch
                finally:
                    del batch  # or it and its traceback would hold each other, and the workers with them
            blank = [lost for lost in batch.unreadable if lost.image_id in batch.image_ids]
            in_a_row = [*in_a_row, *blank] if len(blank) == len(batch) else []
            if len(in_a_row) >= min(IN_A_ROW, len(cast(Sized, self.dataset))) > 0:
                raise all_unreadable(in_a_row)
            self._note(batch.unreadable)
            yield batch

    def _batches(self) -> Iterator[Batch | Exception]:
        batches = super().__iter__()
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (EOFError, OSError) as error:
                # Of reading come as values, so that this is the way from a worker: it died as it handed a batch over.
                raise RuntimeError(
                    f"DataLoader worker exited unexpectedly, killed perhaps ({type(error).__name__}: {error})"
                ) from error
            yield batch

    def _note(self, unreadable: Sequence[Unreadable]) -> None:
        became = "left out" if getattr(self.dataset, "on_unreadable", "") == "replace" else "without detections"
        for image_id, reason in unreadable:
            if image_id in self.unreadable:
                continue
            self.unreadable[image_id] = reason
            if len(self.unreadable) <= NAMED:
                logger.warning("%s (image %s)", reason, became)
            elif len(self.unreadable) == NAMED + 1:
                logger.warning("more images cannot be read; they are no longer named")


class _Caught(Dataset[Any]):
    """Gives errors of reading as values, as torch turns an exception of a worker into one with a stack in its text."""

    def __init__(self, samples: PipelineDataset) -> None:
        self.samples = samples
        self.on_unreadable = samples.on_unreadable

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: SampleKey) -> Sample | Exception:
        try:
            return self.samples[key]
        except UNREADABLE as error:
            return error


def _collate_caught(samples: Sequence[Sample | Exception], **options: Any) -> Batch | Exception:
    for sample in samples:
        if isinstance(sample, Exception):
            return sample
    return collate(cast("Sequence[Sample]", samples), **options)


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
    on_unreadable: OnUnreadable = "raise",
) -> DetectionLoader:
    """A DataLoader of Batches that gives the same ones whatever the number of workers.

    Call `set_epoch(loader, epoch)` before every epoch (Lightning does it): order and augmentation
    follow from seed and epoch, so a run resumed at an epoch sees what an uninterrupted one does.
    batch_size: per process. drop_last: leave out the last batch where it is not full.
    rank, world_size, remainder: as for EpochSampler; remainder None is "drop" with drop_last, else
    "pad", which repeats images when there are several processes: to evaluate then, take each
    image id once, or ask for "uneven". prefetch: batches that each worker prepares in advance.
    normalize: give float images, as the pipeline's normalization says, instead of uint8 ones, which
    detectors normalize themselves. on_unreadable: as for PipelineDataset; whatever it is, a data set
    of which nothing can be read any longer raises ImageReadError.
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
    samples = PipelineDataset(dataset, pipeline, seed=seed, on_unreadable=on_unreadable)
    return DetectionLoader(
        cast(Any, _Caught(samples)),
        batch_size=batch_size,
        sampler=cast(Any, sampler),
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=partial(
            _collate_caught, normalization=pipeline.normalization if normalize else None, size=pipeline.output_size
        ),
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(seed),
        **for_workers,
    )


def set_epoch(loader: DataLoader[Any], epoch: int, *, skip_batches: int = 0) -> None:
    """Tells a loader of build_loader which epoch comes next, and how many of its batches to leave out: those that a run
    had seen before it was interrupted."""
    if not isinstance(loader.sampler, EpochSampler):
        raise TypeError(f"loader: expected one of build_loader, got {type(loader.sampler).__name__}")
    check_integer(skip_batches, "skip_batches", 0)
    assert loader.batch_size is not None  # build_loader gives it
    loader.sampler.set_epoch(epoch)
    loader.sampler.skip_once(skip_batches * loader.batch_size)


def _start_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends its workers
    # Workers are processes enough: threads of OpenCV in each would fight over the same cores.
    cv2.setNumThreads(0)
