"""What is wrong with a run is said by its full name, before any data is read and anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import refinedet
from refinedet.engine import DataConfig, ModelConfig, TrainConfig
from refinedet.engine.checks import check_augmentation, check_batch_size, check_machine
from refinedet.engine.train import train


@pytest.fixture
def refused(config, monkeypatch):
    """The message of a run that is refused before its data is opened."""

    def no_data(*args, **options):
        pytest.fail("the data was opened")

    monkeypatch.setattr("refinedet.engine.setup.open_training", no_data)

    def run(**changes):
        with pytest.raises((ValueError, OSError)) as caught:
            train(replace(config, **changes))
        assert not Path(config.output).exists()
        return str(caught.value)

    return run


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"flip": 3}, "data.augment.flip: no such option; there are distort_probability, brightness"),
        ({"max_expnd": 3}, "data.augment.max_expnd: no such option; did you mean max_expand?"),
        ({"size": 3}, "data.augment.size: no such option"),
        ({"max_expand": "abc"}, "data.augment.max_expand: expected a number from 1 to inf, got 'abc'"),
        ({"flip_probability": 2}, "data.augment.flip_probability: expected a number from 0 to 1, got 2"),
        ({"contrast": [1]}, "data.augment.contrast: expected 2 finite numbers, got (1,)"),
        ({"contrast": 1}, "data.augment.contrast: expected 2 finite numbers, got 1"),
        ({"steps": "abc"}, "data.augment.steps: expected several in order, got 'abc'"),
        ({"steps": [1]}, "data.augment.steps: expected ['distort', "),
        ({"min_ious": ["a"]}, "data.augment.min_ious: expected a number from 0 to 1, got 'a'"),
        ({"crop_trials": 1.5}, "data.augment.crop_trials: expected an integer of at least 1, got 1.5"),
        ({"interpolations": [[]]}, "data.augment.interpolations: expected some of"),
        ({"keep_objects": "no"}, "data.augment.keep_objects: expected one of [True, False], got 'no'"),
    ],
)
def test_augmentation(refused, config, augment, message):
    assert refused(data=replace(config.data, augment=augment)).startswith(message)


def test_every_option_of_the_augmentation_passes_with_its_default():
    from refinedet.data import TrainPipeline

    pipeline = TrainPipeline(64)
    names = [name for name in vars(pipeline) if name not in ("size", "mean", "std", "order")]
    check_augmentation({name: getattr(pipeline, name) for name in names})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thetaa": 1}, "model.options: refinedet192_small has no option 'thetaa'; did you mean 'theta'?"),
        ({"nms": [1]}, "model.options: nms: expected one of ['code', "),
        ({"anchor_sizes": 3}, "model.options: anchor_sizes: expected positive numbers, got 3"),
        ({"pixel_mean": ["a", 1, 2]}, "model.options: pixel_mean: expected 3 finite numbers, got ('a', 1, 2)"),
    ],
)
def test_options_of_the_model(refused, options, message):
    assert refused(model=ModelConfig(name="refinedet192_small", options=options)).startswith(message)


def test_an_output_that_is_a_file(refused, tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert refused(output=str(file)) == f"output: expected a folder, {file} is none"


def test_a_gpu_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for accelerator in ("gpu", "cuda"):
        with pytest.raises(ValueError, match=f"train.accelerator: expected cpu or auto, as .*, got {accelerator}"):
            check_machine(TrainConfig(accelerator=accelerator))
    with pytest.raises(ValueError, match="train.precision: expected 32, bf16 or auto on a CPU"):
        check_machine(TrainConfig(precision="16"))
    check_machine(TrainConfig(accelerator="cpu", devices=8, precision="bf16"))


def test_more_gpus_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="train.devices: expected at most 2, the GPUs of this machine, got 3"):
        check_machine(TrainConfig(devices=3))
    check_machine(TrainConfig(devices=2, precision="16"))
    check_machine(TrainConfig(accelerator="cpu", devices=3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainConfig(devices=0), "train.devices: expected an integer of at least 1, got 0"),
        (lambda: TrainConfig(accelerator="tpu"), "train.accelerator: expected one of"),
        (lambda: TrainConfig(seed=2**32), "train.seed: expected an integer of at most 4294967295"),
        (lambda: TrainConfig(iterations=2**63), "train.iterations: expected an integer of at most 9223372036854775807"),
        (lambda: DataConfig(classes=[]), "data.classes: expected at least one name, got none"),
        (lambda: DataConfig(classes=["a", "a"]), "data.classes: expected distinct names, got 'a' twice"),
        (lambda: DataConfig(classes=["a", ""]), "data.classes: expected names, got an empty one"),
        (lambda: ModelConfig(strict=True), "model.strict: expected model.weights beside it"),
        (lambda: ModelConfig(subsample_classes="voc_in_coco"), "model.subsample_classes: expected model.weights"),
    ],
)
def test_configurations_that_do_not_hold_together(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["refinedet192_small", "efgrnet192_small", "padet192_small"])
def test_a_batch_norm_that_would_see_one_value_is_named(name):
    model = refinedet.create_model(name, 4, input_size=64)
    with pytest.raises(
        ValueError, match=r"data.batch_size: expected 2 or more for each process, as the batch norm \S+ sees but one"
    ):
        check_batch_size(model, 1)
    check_batch_size(model, 2)
    check_batch_size(model, 1, frozen=[child for child, _ in model.named_children()])
    check_batch_size(refinedet.create_model(name, 4, input_size=256), 1)
