"""Samples that have gone through a pipeline, and what stands in for those whose files cannot be read."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import numpy as np
from torch.utils.data import Dataset

from ..checks import check_choice
from ..structures import Normalization, Sample, Unreadable
from .image_io import ImageReadError
from .sampler import SampleKey
from .seeding import replacement_rng, sample_rng

OnUnreadable = Literal["raise", "replace", "blank"]
IN_A_ROW = 32
"""So many images, one after the other, that cannot be read are no longer bad luck: the data set is gone."""

UNREADABLE = (ImageReadError, OSError)


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

    on_unreadable: what becomes of an image whose file cannot be read (damaged, gone, no permission). "raise" raises
    what the data set raised; "replace" gives another image, which seed, epoch and item decide as well; "blank" gives
    its annotations on a black image, for evaluations, where it counts as one without detections. The last two are
    listed in the sample's `unreadable`. "blank" asks the data set for `blank(item)`, as DetectionDataset has it.
    """

    def __init__(
        self, dataset: Dataset[Sample], pipeline: Pipeline, *, seed: int = 0, on_unreadable: OnUnreadable = "raise"
    ) -> None:
        check_choice(on_unreadable, "on_unreadable", ("raise", "replace", "blank"))
        if on_unreadable == "blank" and not hasattr(dataset, "blank"):
            raise TypeError(f"dataset: expected a DetectionDataset for blank images, got {type(dataset).__name__}")
        self.dataset = dataset
        self.pipeline = pipeline
        self.seed = seed
        self.on_unreadable = on_unreadable

    def __len__(self) -> int:
        return len(cast(Sized, self.dataset))

    def __getitem__(self, key: SampleKey | int) -> Sample:
        """Raises ImageReadError or OSError as on_unreadable says, and where so many images in a row cannot be read
        that the data set must be gone."""
        epoch, item = key if isinstance(key, tuple) else (0, key)
        rng = sample_rng(self.seed, epoch, item)
        if self.on_unreadable == "raise":
            return self.pipeline(self.dataset[item], rng)
        lost: list[Unreadable] = []
        sample = self._read(item, lost)
        if sample is None:
            sample = self._stand_in(epoch, item, lost)
        sample = self.pipeline(sample, rng)
        return replace(sample, unreadable=tuple(lost)) if lost else sample

    def _read(self, item: int, lost: list[Unreadable]) -> Sample | None:
        try:
            return self.dataset[item]
        except UNREADABLE as error:
            record = getattr(self.dataset, "record", None)
            lost.append(Unreadable(record(item).image_id if record else item, str(error)))
            return None

    def _stand_in(self, epoch: int, item: int, lost: list[Unreadable]) -> Sample:
        if self.on_unreadable == "blank":
            return cast(Any, self.dataset).blank(item)
        rng = replacement_rng(self.seed, epoch, item)
        for other in rng.choice(len(self), min(len(self), IN_A_ROW), replace=False).tolist():
            sample = self._read(other, lost) if other != item else None
            if sample is not None:
                return sample
        raise all_unreadable(lost)


def all_unreadable(lost: list[Unreadable]) -> ImageReadError:
    """The error for a data set that is gone."""
    count = f"{len(lost)} images in a row" if len(lost) > 1 else "the only image"
    return ImageReadError(f"{count} cannot be read, is the data set still there? The last one: {lost[-1].reason}")
