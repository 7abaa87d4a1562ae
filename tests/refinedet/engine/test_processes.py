"""A batch is that of all processes together: they share it, and see together what one process would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from refinedet.engine import RunConfig, TrainConfig
from refinedet.engine.checkpoints import RUN, TOTAL
from refinedet.engine.checks import check_run
from refinedet.engine.data import DetectionData
from refinedet.engine.lr_finder import find_lr
from refinedet.engine.processes import Processes, find_processes, share_of_batch
from refinedet.engine.resume import check_resumable, read_checkpoint
from refinedet.engine.splits import open_training
from refinedet.engine.train import train, write_config
from refinedet.structures import Normalization


def cpu(devices: int | str = "auto", accelerator: str = "cpu") -> TrainConfig:
    return TrainConfig(epochs=1, accelerator=accelerator, devices=devices)  # type: ignore[arg-type]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    return 4


def test_processes_are_the_devices_or_those_of_torchrun(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_processes(cpu(3)) == Processes(1, 3)
    assert find_processes(cpu()) == Processes(1, 1), "GPUs that do not train do not count"
    assert find_processes(cpu(accelerator="auto")) == Processes(1, gpus)
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert find_processes(cpu()) == find_processes(cpu(2)) == Processes(3, 2)
    with pytest.raises(ValueError, match="train.devices: expected auto or 2, the processes that were started"):
        find_processes(cpu(6))
    monkeypatch.delenv("LOCAL_WORLD_SIZE")  # as Lightning starts its own
    assert find_processes(cpu(6)).total == 6


@pytest.mark.parametrize(("size", "processes", "share"), [(32, 1, 32), (32, 4, 8), (4, 4, 1)])
def test_a_batch_is_divided_by_the_processes(size: int, processes: int, share: int) -> None:
    assert share_of_batch(size, processes) == share


@pytest.mark.parametrize(
    ("size", "processes", "fitting"), [(32, 3, "such as 30 or 33, got 32"), (3, 4, "such as 4, got 3")]
)
def test_a_rest_is_refused_with_sizes_that_fit(config: RunConfig, size: int, processes: int, fitting: str) -> None:
    message = f"data.batch_size: expected a multiple of {processes}, .* {processes} processes together, {fitting}"
    with pytest.raises(ValueError, match=message):
        share_of_batch(size, processes)
    odd = replace(config, data=replace(config.data, root="nowhere", batch_size=size), train=cpu(processes))
    for command in (check_run, train, find_lr):
        with pytest.raises(ValueError, match=message):
            command(odd)
    assert not Path(str(config.output)).exists()


@pytest.mark.parametrize("processes", [2, 3])
def test_a_step_sees_the_same_images_whatever_the_processes(
    config: RunConfig, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_set, val_set = open_training(config.data)

    def steps(world: int) -> list[set[object]]:
        seen: list[set[object]] = []
        for rank in range(world):
            monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
            monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world)
            monkeypatch.setattr(torch.distributed, "get_rank", lambda r=rank: r)
            data = DetectionData(
                replace(config.data, batch_size=6),
                train_set,
                val_set,
                size=64,
                normalization=Normalization((0.0,) * 3, (1.0,) * 3, "bgr"),
                processes=world,
            )
            monkeypatch.setattr(data, "_position", lambda: (0, 0))
            monkeypatch.setattr(DetectionData, "_on_gpu", False)
            for step, batch in enumerate(data.train_dataloader()):
                assert len(batch) == 6 // world
                if rank == 0:
                    seen.append(set())
                seen[step] |= set(batch.image_ids)
        return seen

    alone = steps(1)
    assert len(alone) == 2 and steps(processes) == alone


def checkpoint_of(config: RunConfig) -> dict[str, object]:
    train(replace(config, train=replace(config.train, epochs=1, loggers=[])))
    return read_checkpoint(str(config.output)).run


def test_checkpoints_from_before_the_batch_was_the_total(config: RunConfig) -> None:
    now = checkpoint_of(config)
    assert now[TOTAL] and check_resumable(now, now) == []
    before = {key: value for key, value in now.items() if key != TOTAL}
    assert check_resumable(before, now) == [], "of one process: the same"
    both = {"processes": 2}
    with pytest.raises(ValueError, match="data.batch_size: expected 8, as the run that is resumed has it, got 4"):
        check_resumable({**before, **both}, {**now, **both})
    file = Path(str(config.output)) / "checkpoints/last.ckpt"
    content = torch.load(file, weights_only=True)
    content[RUN]["config"]["data"]["batch_size"] = None
    torch.save(content, file)
    with pytest.raises(ValueError, match="config.data.batch_size: expected int, got NoneType"):
        read_checkpoint(str(file))


def test_settings_that_an_old_checkpoint_does_not_know_stood_at_their_defaults(config: RunConfig) -> None:
    now = checkpoint_of(config)
    old = {**now, "config": {**now["config"], "train": {**now["config"]["train"]}}}  # type: ignore[dict-item]
    del old["config"]["train"]["clip_norm"]  # type: ignore[index]
    assert check_resumable(old, now) == []
    changed = {**now, "config": {**now["config"], "train": {**now["config"]["train"], "clip_norm": 3.0}}}  # type: ignore[dict-item]
    assert check_resumable(old, changed) == ["train.clip_norm: None before, now 3.0"]


def test_processes_that_lightning_starts_share_the_batch(config: RunConfig, tmp_path: Path) -> None:
    """Without torchrun; in a process of its own, as Lightning starts the same command once more."""
    two = replace(config, train=TrainConfig(epochs=1, accelerator="cpu", devices=2, loggers=[]))
    write_config(two, tmp_path / "given.yaml")
    command = [sys.executable, "-m", "refinedet.cli", "train", "--config", str(tmp_path / "given.yaml")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "a batch of 4 images: 2 in each of 2 processes" in done.stdout
    run = read_checkpoint(str(config.output)).run
    assert run["processes"] == 2 and run["config"]["data"]["batch_size"] == 4
