"""A run that is interrupted and resumed ends as one that was not: bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from refinedet.engine import RunConfig, TrainConfig
from refinedet.engine.checkpoints import RUN
from refinedet.engine.module import DetectionModule
from refinedet.engine.train import train, write_config
from refinedet.weights import load_model

ALWAYS = 1e-6  # minutes: a checkpoint after every step
CPU = {"accelerator": "cpu", "devices": 1, "save_minutes": ALWAYS, "loggers": []}


class Killed(Exception):
    pass


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, object], dict[str, torch.Tensor]]:
    """What must not depend on interruptions: both models and the metrics."""
    metrics = json.loads((folder / "metrics.json").read_text())
    best = load_model(folder / "best.safetensors")
    return load_model(folder / "last.safetensors").model.state_dict(), metrics, best.model.state_dict()


def assert_same(a: Path, b: Path) -> None:
    (last, metrics, best), (last_b, metrics_b, best_b) = outcome(a), outcome(b)
    assert metrics == metrics_b
    for one, other in ((last, last_b), (best, best_b)):
        different = [key for key in one if not torch.equal(one[key], other[key])]
        assert not different


def kill_at(monkeypatch: pytest.MonkeyPatch, when: str, batch: int) -> None:
    """Make the training fail at a batch, counted over the epochs from 0, before or after its step."""
    seen = 0
    step = DetectionModule.training_step

    def training_step(self, *args):
        nonlocal seen
        if when == "before" and seen == batch:
            raise Killed
        seen += 1
        return step(self, *args)

    def validation_step(self, *args):
        raise Killed

    monkeypatch.setattr(DetectionModule, "training_step", training_step)
    if when == "evaluating":
        monkeypatch.setattr(DetectionModule, "validation_step", validation_step)


RUNS = {
    "epochs": {"epochs": 3},
    "iterations": {"iterations": 7},
    "ema": {"epochs": 3, "ema": 0.9},
    "accumulation": {"epochs": 3, "accumulate": 2, "ema": 0.9},
    "rare evaluations": {"epochs": 3, "eval_every": 2, "multi_scale": [64, 128]},
}


@pytest.mark.parametrize(
    ("name", "workers", "kills"),
    [
        ("epochs", 0, [(1, 1), (3, 0), (3, 3), (5, 1)]),
        ("epochs", 2, [(4, 1)]),
        ("iterations", 0, [(2, 1), (4, 2)]),
        ("iterations", 2, [(4, 1)]),
        ("ema", 0, [(4, 2)]),
        ("accumulation", 0, [(1, 1), (3, 1), (5, 2)]),
        ("rare evaluations", 0, [(4, 2), (6, 1)]),
    ],
)
def test_killed_anywhere(
    config: RunConfig, tmp_path: Path, name: str, workers: int, kills: list[tuple[int, int]]
) -> None:
    """Three batches an epoch; killed twice: at the first batch of a pair, and, resumed, after so many more."""
    config = replace(config, train=TrainConfig(**RUNS[name], **CPU), data=replace(config.data, workers=workers))
    train(replace(config, output=str(tmp_path / "whole")))
    for first, second in kills:
        folder = tmp_path / f"parts{first}{second}"
        parts = replace(config, output=str(folder))
        for batch in (first, second):
            with pytest.MonkeyPatch.context() as patch:
                kill_at(patch, "before", batch)
                with pytest.raises(Killed):
                    train(parts)
            resume = str(folder / "checkpoints/last.ckpt")
            parts = replace(parts, train=replace(parts.train, resume=resume if Path(resume).exists() else None))
        train(parts)
        assert_same(tmp_path / "whole", folder)


def test_killed_in_an_evaluation(config: RunConfig, tmp_path: Path) -> None:
    """The evaluation that did not come to its end is made up for, with the best model that it may bring."""
    config = replace(config, train=TrainConfig(epochs=3, ema=0.9, **CPU))
    train(replace(config, output=str(tmp_path / "whole")))
    parts = replace(config, output=str(tmp_path / "parts"))
    for _ in range(3):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, "evaluating", -1)
            with pytest.raises(Killed):
                train(parts)
        parts = replace(parts, train=replace(parts.train, resume=str(tmp_path / "parts")))
    train(parts)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_log_of_a_resumed_run_counts_on(config: RunConfig, tmp_path: Path) -> None:
    config = replace(config, train=TrainConfig(epochs=4, **{**CPU, "loggers": ["tensorboard"]}))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "before", 7)
        with pytest.raises(Killed):
            train(config)
    train(replace(config, train=replace(config.train, resume=config.output)))
    out = Path(config.output)
    rows = [(out / f"logs/version_{i}/metrics.csv").read_text().splitlines() for i in (0, 1)]
    place = rows[1][0].split(",").index("step")
    steps = [int(row.split(",")[place]) for row in rows[1][1:]]
    assert min(steps) >= 6 and max(steps) in (11, 12)
    assert (out / "curves.png").exists()


def test_resuming_in_another_folder_brings_the_best_model(config: RunConfig, tmp_path: Path) -> None:
    train(config)
    best = Path(config.output) / "best.safetensors"
    again = replace(config, train=replace(config.train, resume=config.output), output=str(tmp_path / "elsewhere"))
    result = train(again)
    assert result.best == tmp_path / "elsewhere/best.safetensors"
    assert result.best.read_bytes() == best.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"epochs": 5}}, "train.epochs: expected 2, as the run that is resumed has it, got 5"),
        ({"train": {"seed": 3}}, "train.seed: expected 0"),
        ({"data": {"batch_size": 2}}, "data.batch_size: expected 4"),
        ({"data": {"classes": ["b", "a"]}}, "data.classes: expected"),
        ({"optim": {"optimizer": "adamw"}}, "optim.optimizer: expected sgd"),
        ({"model": {"name": "refinedet320_small", "options": {}}}, "model.name: expected refinedet192_small"),
        ({"model": {"options": {"input_size": 128}}}, "model.options.input_size: expected 64"),
    ],
)
def test_what_must_not_change(config: RunConfig, change: dict[str, dict[str, object]], message: str) -> None:
    result = train(config)
    names = load_model(result.last).class_names
    before = {file: file.stat().st_mtime_ns for file in result.output.rglob("*") if file.is_file()}
    for section, values in change.items():
        if values.get("classes"):
            values = {"classes": names[::-1]}
            message = f"{message}.*in another order"
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    with pytest.raises(ValueError, match=message):
        train(replace(config, train=replace(config.train, resume=str(result.output))))
    assert before == {file: file.stat().st_mtime_ns for file in result.output.rglob("*") if file.is_file()}


def test_another_learning_rate_is_taken_and_said(config: RunConfig, caplog: pytest.LogCaptureFixture) -> None:
    config = replace(config, train=TrainConfig(epochs=2, **CPU), optim=replace(config.optim, schedule="constant"))
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, "before", 4)
        with pytest.raises(Killed):
            train(config)
    rates = []

    end = DetectionModule.on_train_start

    def on_train_start(self):
        end(self)
        rates.extend(group["lr"] for group in self.trainer.optimizers[0].param_groups)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectionModule, "on_train_start", on_train_start)
        changed = replace(config.optim, lr=0.0005, weight_decay=0.0)
        train(replace(config, optim=changed, train=replace(config.train, resume=config.output)))
    assert rates == [0.0005, 0.001]
    assert "optim.lr: 0.002 before, now 0.0005" in caplog.text
    assert "optim.weight_decay: 0.0005 before, now 0.0" in caplog.text


def test_files_that_are_no_checkpoint(config: RunConfig, tmp_path: Path) -> None:
    result = train(config)
    whole = (result.output / "checkpoints/last.ckpt").read_bytes()

    def resume(content: bytes, name: str) -> None:
        (tmp_path / name).write_bytes(content)
        train(replace(config, train=replace(config.train, resume=str(tmp_path / name))))

    for length in (0, 10, len(whole) // 2, len(whole) - 100):
        with pytest.raises(ValueError, match="train.resume: .*cut.ckpt is cut off or "):
            resume(whole[:length], "cut.ckpt")
    with pytest.raises(ValueError, match="train.resume: .*last.safetensors is a model, for model.weights"):
        resume(result.last.read_bytes(), "last.safetensors")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="was not written by refinedet train"):
        resume((tmp_path / "other.ckpt").read_bytes(), "other.ckpt")
    with pytest.raises(FileNotFoundError, match="train.resume: no file"):
        train(replace(config, train=replace(config.train, resume=str(tmp_path / "nothing"))))


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil_was_here",)


def test_a_checkpoint_runs_no_code(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({RUN: Evil()}, "evil.ckpt")
    with pytest.raises(ValueError, match="evil.ckpt is cut off or no checkpoint"):
        train(replace(config, train=replace(config.train, resume="evil.ckpt")))
    assert not Path("evil_was_here").exists()


# Real processes and signals


def command(config: RunConfig, tmp_path: Path, *more: str, processes: int = 1) -> list[str]:
    tmp_path.mkdir(parents=True, exist_ok=True)
    write_config(config, tmp_path / "given.yaml")
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    start = [sys.executable, *(torchrun if processes > 1 else [])]
    return [*start, "-m", "refinedet.cli", "train", "--config", str(tmp_path / "given.yaml"), *more]


def wait_for(file: Path, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"no {file}"
        time.sleep(0.02)


LONG = {"epochs": 400, "eval_every": 150}


def long_run(config: RunConfig, tmp_path: Path, workers: int = 0, **changes: object) -> RunConfig:
    settings = TrainConfig(**{**CPU, **LONG, **changes})
    return replace(
        config, train=settings, data=replace(config.data, workers=workers), output=str(tmp_path / "interrupted")
    )


@pytest.mark.parametrize(("signum", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 0)])
def test_signal_leaves_a_checkpoint_and_a_command(config, tmp_path, signum: int, workers: int) -> None:
    run = long_run(config, tmp_path, workers, save_minutes=60.0)
    out = Path(run.output)
    process = subprocess.Popen(
        command(run, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(out / "checkpoints/last.ckpt", process)
    if signum == signal.SIGINT:
        os.killpg(process.pid, signum)  # as a terminal does it: to the workers, too
    else:
        process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, errors
    assert "Traceback" not in errors
    step = int(errors.split("interrupted at step ")[1].split(",")[0])
    assert 3 <= step < 1200
    words = errors.split("to go on: refinedet ")[1].split()
    shorter = yaml.safe_load((out / "config.yaml").read_text())
    assert words == [
        "train",
        "--config",
        str(out / "config.yaml"),
        "--train.resume",
        str(out / "checkpoints/last.ckpt"),
    ]
    assert shorter["train"]["epochs"] == 400
    content = torch.load(out / "checkpoints/last.ckpt", weights_only=True)
    assert content["global_step"] == step and content[RUN]["class_names"]


def test_killed_process_and_two_processes(config: RunConfig, tmp_path: Path) -> None:
    """SIGKILL to one of two processes, where torchrun ends the other; resumed as one that was never killed."""
    settings = TrainConfig(epochs=4, ema=0.9, accelerator="cpu", devices=2, save_minutes=ALWAYS, loggers=[])
    config = replace(config, train=settings, data=replace(config.data, batch_size=4, workers=0))
    whole = replace(config, output=str(tmp_path / "whole"))
    subprocess.run(command(whole, tmp_path / "a", processes=2), check=True, capture_output=True, timeout=200)
    parts = replace(config, output=str(tmp_path / "parts"))
    process = subprocess.Popen(
        command(parts, tmp_path / "b", processes=2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "parts/checkpoints/last.ckpt", process)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (tmp_path / "parts/metrics.json").exists()
    again = command(parts, tmp_path / "b", "--train.resume", str(tmp_path / "parts"), processes=2)
    subprocess.run(again, check=True, capture_output=True, timeout=200)
    assert_same(tmp_path / "whole", tmp_path / "parts")
