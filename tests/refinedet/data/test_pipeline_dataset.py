"""What stands in for images that cannot be read while a model trains or is evaluated."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refinedet.data import (
    DetectionDataset,
    EvalPipeline,
    ImageReadError,
    PipelineDataset,
    Sample,
    SampleKey,
    TrainPipeline,
    Unreadable,
    VOCDetection,
    build_loader,
    sample_rng,
    set_epoch,
)

from .makers import make_sample, make_voc, voc_object, voc_xml

COUNT = 6


@pytest.fixture
def dataset(tmp_path: Path) -> VOCDetection:
    files = {f"{i}": voc_xml([voc_object("car", (1, 2, 20 + i, 30))]) for i in range(COUNT)}
    return VOCDetection(make_voc(tmp_path, files, extension=".png"), "train")


def damage(dataset: DetectionDataset, *items: int) -> None:
    """Behind a good header, so that only decoding finds it."""
    for item in items:
        path = Path(dataset.record(item).path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def test_another_image_stands_in_and_the_others_stay_as_they_are(dataset: VOCDetection) -> None:
    pipeline = TrainPipeline(32)
    want = [PipelineDataset(dataset, pipeline, seed=3)[SampleKey(1, i)] for i in range(COUNT)]
    damage(dataset, 2)
    Path(dataset.record(4).path).unlink()
    samples = PipelineDataset(dataset, pipeline, seed=3, on_unreadable="replace")
    got = [samples[SampleKey(1, i)] for i in range(COUNT)]
    for item in (0, 1, 3, 5):
        np.testing.assert_array_equal(got[item].image, want[item].image)
        assert got[item].unreadable == ()
    for item in (2, 4):
        assert got[item].image_id not in ("2", "4")
        assert got[item].unreadable[0].image_id == str(item)
        path = dataset.record(item).path
        assert path in got[item].unreadable[0].reason
        other = int(got[item].image_id)
        again = pipeline(dataset[other], sample_rng(3, 1, item))  # augmented as the lost one would have been
        np.testing.assert_array_equal(got[item].image, again.image)
    others = {samples[SampleKey(epoch, 2)].image_id for epoch in range(20)}
    assert len(others) > 1, "expected another one in every epoch"


def test_a_blank_image_stands_in_for_evaluations(dataset: VOCDetection) -> None:
    damage(dataset, 1)
    got = PipelineDataset(dataset, EvalPipeline((32, 24)), on_unreadable="blank")[1]
    assert got.image.shape == (24, 32, 3) and not got.image.any()
    assert got.image_id == "1" and len(got.boxes) == 1 and got.original_size == (64, 48)
    assert got.unreadable[0].image_id == "1" and "1.png" in got.unreadable[0].reason


def test_by_default_the_error_is_raised(dataset: VOCDetection) -> None:
    damage(dataset, 1)
    with pytest.raises(ImageReadError, match="1.png"):
        PipelineDataset(dataset, EvalPipeline(32))[1]


@pytest.mark.parametrize("only", [False, True])
def test_a_data_set_that_is_gone_is_an_error(dataset: VOCDetection, only: bool) -> None:
    whole: Any = dataset.subset([0], "one") if only else dataset
    for item in range(len(whole)):
        Path(whole.record(item).path).unlink()
    samples = PipelineDataset(whole, EvalPipeline(32), on_unreadable="replace")
    said = "the only image" if only else f"{COUNT} images in a row"
    with pytest.raises(ImageReadError, match=rf"^{said} cannot be read, is the data set .*no such image: .*\.png"):
        samples[0]


class Plain(torch.utils.data.Dataset):
    """A data set of somebody's own, without `record` and `blank`."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise PermissionError(13, "Permission denied", "b.jpg")
        return make_sample(image_id=f"id{index}")


def test_a_data_set_of_ones_own() -> None:
    got = PipelineDataset(Plain(), EvalPipeline(32), on_unreadable="replace")[1]
    assert got.unreadable == (Unreadable(1, "[Errno 13] Permission denied: 'b.jpg'"),)
    with pytest.raises(TypeError, match="dataset: expected a DetectionDataset for blank images, got Plain"):
        PipelineDataset(Plain(), EvalPipeline(32), on_unreadable="blank")
    with pytest.raises(ValueError, match="on_unreadable: expected one of"):
        PipelineDataset(Plain(), EvalPipeline(32), on_unreadable="skip")  # type: ignore[arg-type]


class Broken(Plain):
    def __getitem__(self, index: int) -> Sample:
        raise KeyError("a mistake in the code is no unreadable image")


def test_other_errors_are_not_caught() -> None:
    with pytest.raises(KeyError, match="a mistake"):
        PipelineDataset(Broken(), EvalPipeline(32), on_unreadable="replace")[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_is_named_once_and_batches_do_not_depend_on_workers(
    dataset: VOCDetection, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    damage(dataset, 2, 4)
    options: dict[str, Any] = {"batch_size": 3, "shuffle": True, "seed": 1, "on_unreadable": "replace"}
    want = [list(build_loader(dataset, TrainPipeline(32), **options))]
    caplog.clear()
    loader = build_loader(dataset, TrainPipeline(32), workers=workers, **options)
    got = []
    for epoch in range(3):
        set_epoch(loader, epoch)
        got.append(list(loader))
    for one, two in zip(got[0], want[0], strict=True):
        assert one.image_ids == two.image_ids and torch.equal(one.images, two.images) and len(one) == 3
    assert sorted(loader.unreadable) == ["2", "4"]
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2 and all("(image left out)" in message for message in warned)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_names_the_file_in_one_line(dataset: VOCDetection, workers: int) -> None:
    damage(dataset, 0)
    with pytest.raises(ImageReadError, match=r"^cannot decode \S+0.png: not an image, or a damaged one$"):
        list(build_loader(dataset, EvalPipeline(32), batch_size=2, workers=workers))


def test_an_evaluation_of_a_data_set_that_is_gone_is_an_error(dataset: VOCDetection) -> None:
    damage(dataset, 0, 1, 2, 3, 4)
    loader = build_loader(dataset, EvalPipeline(32), batch_size=2, on_unreadable="blank")
    batches = list(loader)
    assert [len(batch.unreadable) for batch in batches] == [2, 2, 1]
    damage(dataset, 5)
    with pytest.raises(ImageReadError, match="6 images in a row cannot be read, is the data set still there"):
        list(build_loader(dataset, EvalPipeline(32), batch_size=2, on_unreadable="blank"))


def test_many_are_counted_but_not_all_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = VOCDetection(make_voc(tmp_path, {f"{i:02}": voc_xml() for i in range(40)}, extension=".png"), "train")
    damage(dataset, *range(1, 40, 2), 2, 4, 6)
    caplog.clear()
    loader = build_loader(dataset, EvalPipeline(32), batch_size=8, on_unreadable="blank")
    list(loader)
    assert len(loader.unreadable) == 23
    assert len(caplog.records) == 21 and "no longer named" in caplog.records[-1].message


def test_preloading_passes_over_them(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {f"{i}": voc_xml() for i in range(3)}, extension=".png")
    for on_error in ("skip", "raise"):
        dataset = VOCDetection(root, "train", cache_images=True, on_error=on_error)  # type: ignore[arg-type]
        if on_error == "skip":
            damage(dataset, 1)
            assert dataset.preload() == 2 * 64 * 48 * 3
            with pytest.raises(ImageReadError, match=r"1\.png"):
                dataset[1]
        else:
            with pytest.raises(ImageReadError, match=r"1\.png"):
                dataset.preload()
