from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from refinedet.data.augment.pipeline import EvalPipeline, TrainPipeline
from refinedet.data.loader import PipelineDataset, build_loader, set_epoch
from refinedet.data.sampler import SampleKey
from refinedet.data.seeding import sample_rng
from refinedet.data.voc import VOCDetection
from refinedet.structures import Batch, Sample, collate

from .makers import make_voc, voc_object, voc_xml


@pytest.fixture
def dataset(tmp_path: Path) -> VOCDetection:
    files = {f"{i}": voc_xml([voc_object("car", (j + 1, 2, j + 20 + i, 30)) for j in range(i % 3)]) for i in range(7)}
    return VOCDetection(make_voc(tmp_path, files), "train")


def epoch(loader: torch.utils.data.DataLoader, number: int) -> list[Batch]:
    set_epoch(loader, number)
    return list(loader)


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one.image_ids == two.image_ids
        for name in ("images", "gt_boxes", "gt_labels", "gt_offsets", "gt_ignore"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name


def test_batches_of_an_epoch(dataset: VOCDetection) -> None:
    batches = epoch(build_loader(dataset, EvalPipeline(32), batch_size=3), 0)
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [i for batch in batches for i in batch.image_ids] == dataset.image_ids
    assert batches[0].images.shape == (3, 3, 32, 32)
    assert_same(batches[1:2], [collate([EvalPipeline(32)(dataset[i]) for i in (3, 4, 5)])])
    kept = epoch(build_loader(dataset, EvalPipeline(32), batch_size=3, drop_last=True), 0)
    assert [len(batch) for batch in kept] == [3, 3]


def test_the_same_batches_for_any_number_of_workers_and_after_resuming(dataset: VOCDetection) -> None:
    options = {"batch_size": 3, "shuffle": True, "seed": 11}
    alone = build_loader(dataset, TrainPipeline(32), **options)
    epochs = [epoch(alone, number) for number in range(3)]
    workers = build_loader(dataset, TrainPipeline(32), workers=2, **options)
    # The workers outlive the epochs, and must learn of each new one.
    for number in range(3):
        assert_same(epoch(workers, number), epochs[number])
    resumed = build_loader(dataset, TrainPipeline(32), **options)
    assert_same(epoch(resumed, 2), epochs[2])


def test_epochs_and_seeds_differ_in_order_and_augmentation(dataset: VOCDetection) -> None:
    loader = build_loader(dataset, TrainPipeline(32), batch_size=7, seed=1)
    first, second = epoch(loader, 0)[0], epoch(loader, 1)[0]
    assert first.image_ids == second.image_ids
    same = [torch.equal(a, b) for a, b in zip(first.images, second.images, strict=True)]
    assert not any(same)
    other = epoch(build_loader(dataset, TrainPipeline(32), batch_size=7, seed=2), 0)[0]
    assert not torch.equal(first.images, other.images)
    shuffled = build_loader(dataset, EvalPipeline(32), batch_size=7, shuffle=True, seed=1)
    assert epoch(shuffled, 0)[0].image_ids != epoch(shuffled, 1)[0].image_ids


def test_every_sample_has_its_own_random_numbers(dataset: VOCDetection) -> None:
    pipeline = TrainPipeline(32)
    wrapped = PipelineDataset(dataset, pipeline, seed=3)
    assert len(wrapped) == 7
    got = wrapped[SampleKey(2, 5)]
    np.testing.assert_array_equal(got.image, pipeline(dataset[5], sample_rng(3, 2, 5)).image)
    np.testing.assert_array_equal(wrapped[5].image, wrapped[SampleKey(0, 5)].image)
    assert not np.array_equal(wrapped[5].image, got.image)


def test_torchs_random_numbers_are_left_alone(dataset: VOCDetection) -> None:
    for workers in (0, 1):
        torch.manual_seed(5)
        want = torch.rand(3)
        torch.manual_seed(5)
        epoch(build_loader(dataset, TrainPipeline(32), batch_size=3, workers=workers), 0)
        assert torch.equal(torch.rand(3), want)


def test_processes_see_different_pictures(dataset: VOCDetection) -> None:
    loaders = [
        build_loader(dataset, EvalPipeline(32), batch_size=2, shuffle=True, rank=r, world_size=2) for r in (0, 1)
    ]
    ids = [[i for batch in epoch(loader, 1) for i in batch.image_ids] for loader in loaders]
    assert [len(part) for part in ids] == [4, 4] and set(ids[0] + ids[1]) == set(dataset.image_ids)
    uneven = [
        build_loader(dataset, EvalPipeline(32), batch_size=2, rank=r, world_size=2, remainder="uneven") for r in (0, 1)
    ]
    ids = [[i for batch in epoch(loader, 0) for i in batch.image_ids] for loader in uneven]
    assert sorted(ids[0] + ids[1]) == sorted(dataset.image_ids)


def test_the_pipeline_decides_normalization_and_size(dataset: VOCDetection) -> None:
    pipeline = EvalPipeline((32, 16), mean=(0, 0, 0), std=(2, 2, 2), order="rgb")
    image = pipeline(dataset[0]).image
    batch = epoch(build_loader(dataset, pipeline, batch_size=1), 0)[0]
    np.testing.assert_array_equal(batch.images[0].numpy(), image.transpose(2, 0, 1))
    batch = epoch(build_loader(dataset, pipeline, batch_size=1, normalize=True), 0)[0]
    want = image[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 2
    np.testing.assert_array_equal(batch.images[0].numpy(), want)


class WhoReads(VOCDetection):
    """Notes which process decodes images."""

    def _image(self, index: int, record: object) -> np.ndarray:
        if self._cache is not None and index not in self._cache:
            with open(self.note, "a") as file:  # type: ignore[attr-defined]
                file.write(f"{os.getpid()}\n")
        return super()._image(index, record)  # type: ignore[arg-type]


def test_workers_share_the_cache_of_pictures(tmp_path: Path) -> None:
    make_voc(tmp_path, {f"{i}": voc_xml() for i in range(4)})
    dataset = WhoReads(tmp_path, "train", cache_images=True)
    dataset.note = tmp_path / "note.txt"  # type: ignore[attr-defined]
    batches = epoch(build_loader(dataset, EvalPipeline(32), batch_size=2, workers=2), 0)
    assert sum(len(batch) for batch in batches) == 4
    assert (tmp_path / "note.txt").read_text().split() == [str(os.getpid())] * 4
    # Images from the cache are read-only; the pipeline must cope, and leave them as they are.
    train = build_loader(dataset, TrainPipeline(32), batch_size=4)
    first, again = epoch(train, 0), epoch(train, 0)
    assert_same(first, again)


def test_a_broken_picture_is_named(dataset: VOCDetection) -> None:
    Path(dataset.record(2).path).write_bytes(b"")
    loader = build_loader(dataset, EvalPipeline(32), batch_size=1)
    with pytest.raises(ValueError, match="2.jpg: the file is empty"):
        list(loader)


def test_refuses(dataset: VOCDetection) -> None:
    with pytest.raises(ValueError, match="batch_size: expected 1 or more, got 0"):
        build_loader(dataset, EvalPipeline(32), batch_size=0)
    with pytest.raises(ValueError, match="workers: expected 0 or more, got -1"):
        build_loader(dataset, EvalPipeline(32), batch_size=1, workers=-1)
    plain: torch.utils.data.DataLoader[Sample] = torch.utils.data.DataLoader(dataset)
    with pytest.raises(TypeError, match="loader: expected one of build_loader, got SequentialSampler"):
        set_epoch(plain, 0)
