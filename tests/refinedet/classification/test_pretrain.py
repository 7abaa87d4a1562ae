"""A backbone is trained on a folder of images, interrupted, resumed, and goes into a detector."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml
from safetensors.torch import load_file

import refinedet
from refinedet.classification.config import BackboneConfig, FolderConfig, PretrainConfig
from refinedet.classification.module import ClassificationModule
from refinedet.classification.pretrain import pretrain
from refinedet.cli import main
from refinedet.data.image_io import ImageReadError
from refinedet.engine import TrainConfig
from refinedet.engine.train import write_config

ALWAYS = 1e-6  # minutes: a checkpoint after every step


class Killed(Exception):
    pass


def test_a_trained_backbone_goes_into_a_detector(config: PretrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(config, train=replace(config.train, epochs=8, eval_every=4, ema=0.8))
    result = pretrain(config)
    told = capsys.readouterr().out
    assert "3 classes, 24 images to train on, 9 held out" in told
    top1 = result.metrics["top1"]
    assert top1 > 0.7 and result.metrics == {"top1": top1, "top5": 1.0, "images": 9}
    assert f"on 9 images held out: top-1 {100 * top1:.1f}, top-5 100.0 percent" in told
    metrics = json.loads((result.output / "metrics.json").read_text())
    assert metrics["top1"] == top1 and metrics["step"] in (16, 32) and metrics["last"]["step"] == 32
    assert (result.output / "curves.png").exists() and (result.output / "config.yaml").exists()
    detector = refinedet.create_model("refinedet192_small", 4, backbone_weights=result.best, tcb_channels=16)
    trained = load_file(result.best)
    assert all(torch.equal(value, trained[key]) for key, value in detector.backbone.state_dict().items())
    with pytest.raises(ValueError, match="output: .* holds a run already"):
        pretrain(config)
    assert main(["train", "--config", "own_data", "--train.resume", str(result.output)]) == 1
    assert "expected a run of refinedet train" in capsys.readouterr().err


def test_batch_norms_of_random_weights_forget_faster(config: PretrainConfig) -> None:
    found: set[float | None] = set()

    class Look(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            found.update(m.momentum for m in pl_module.modules() if isinstance(m, torch.nn.BatchNorm2d))

    model = BackboneConfig("refinedetlite320_efficientnet_lite0")
    settings = replace(config.train, epochs=1, norm_momentum="auto")
    result = pretrain(replace(config, model=model, train=settings), callbacks=[Look()])
    assert found == {0.1}
    assert yaml.safe_load((result.output / "config.yaml").read_text())["train"]["norm_momentum"] == 0.1


def kill_at(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    seen = 0
    step = ClassificationModule.training_step

    def training_step(self, *args):
        nonlocal seen
        if seen == batch:
            raise Killed
        seen += 1
        return step(self, *args)

    monkeypatch.setattr(ClassificationModule, "training_step", training_step)


@pytest.mark.parametrize(("workers", "kills"), [(0, [1, 4, 4]), (1, [6])])
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(
    config: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, kills: list[int]
) -> None:
    settings = replace(config.train, ema=0.9, save_minutes=ALWAYS)
    config = replace(config, train=settings, data=replace(config.data, workers=workers))
    whole = pretrain(replace(config, output=str(tmp_path / "whole")))
    parts = replace(config, output=str(tmp_path / "parts"))
    for batch in kills:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_at(patch, batch)
            pretrain(parts)
        parts = replace(parts, train=replace(settings, resume=str(tmp_path / "parts")))
    again = pretrain(parts)
    assert again.metrics == whole.metrics
    for one, other in ((whole.last, again.last), (whole.best, again.best)):
        a, b = load_file(one), load_file(other)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_signal_ends_the_command_and_its_line_goes_on(config: PretrainConfig, tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    settings = replace(config.train, epochs=2000, eval_every=1000, save_minutes=ALWAYS)
    write_config(replace(config, train=settings), file)
    command = [sys.executable, "-m", "refinedet.cli", "pretrain", "--config", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    checkpoint = Path(str(config.output)) / "checkpoints/last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGINT and "Traceback" not in errors
    words = errors.split("to go on: refinedet ")[1].split()
    assert words[0] == "pretrain" and words[-1] == str(checkpoint)
    step = torch.load(checkpoint, weights_only=True)["global_step"]
    written = yaml.safe_load(Path(words[2]).read_text())
    written["train"].update(epochs=2000, max_minutes=1e-5)  # the next step is the last
    file.write_text(yaml.safe_dump(written))
    assert main([*words[:2], str(file), *words[3:]]) == 0
    metrics = json.loads((checkpoint.parent.parent / "metrics.json").read_text())
    assert metrics["last"]["step"] == step + 1


def test_from_the_command_line_with_the_shipped_recipe(images: Path, tmp_path: Path) -> None:
    words = [
        "pretrain",
        "--data.root",
        str(images),
        "--model.name",
        "refinedet192_small",
        "--output",
        str(tmp_path / "r"),
    ]
    small = ["--model.options.tcb_channels=16", "--data.size=32", "--data.batch_size=12", "--data.workers=0"]
    assert main([*words, *small, "--train.iterations=2", "--train.loggers=[]", "--optim.lr=0.01"]) == 0
    content = yaml.safe_load((tmp_path / "r/config.yaml").read_text())
    assert content["train"]["epochs"] is None and content["optim"]["warmup_epochs"] == 5
    assert content["optim"]["schedule"] == "cosine" and content["label_smoothing"] == 0.1


def test_images_that_cannot_be_read(config: PretrainConfig, tmp_path: Path) -> None:
    shutil.copytree(str(config.data.root), tmp_path / "bad")
    for name in ("train/blue/0.png", "val/red/0.png"):
        (tmp_path / "bad" / name).write_bytes(b"nothing")
    data = replace(config.data, root=str(tmp_path / "bad"))
    config = replace(config, data=data, train=replace(config.train, epochs=1))
    metrics = pretrain(config).metrics
    assert metrics["images"] == 9 and metrics["top1"] <= 8 / 9  # the lost one counts as a mistake
    refused = replace(config, data=replace(data, on_error="raise"), output=str(tmp_path / "refused"))
    with pytest.raises(ImageReadError, match=r"0\.png"):
        pretrain(refused)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": BackboneConfig()}, "model.name: expected a detector whose backbone is to be trained, got none"),
        ({"model": BackboneConfig("refinedet192_smal")}, "model.name: no model 'refinedet192_smal'; did you mean"),
        (
            {"model": BackboneConfig("refinedet192_small", {"width": 3})},
            "model.options: refinedet192_small has no",
        ),
        ({"train": TrainConfig()}, "train.iterations, train.epochs: expected one of them"),
        ({"data": FolderConfig(root="nowhere")}, "data.root: no such folder"),
        (
            {"train": TrainConfig(epochs=1, accelerator="cpu", devices=4)},
            "data.batch_size: expected a multiple of 4, .* such as 4 or 8, got 6",
        ),
        ({"train": TrainConfig(epochs=1, freeze="neck", accelerator="cpu")}, "train.freeze: "),
    ],
)
def test_what_is_refused_before_anything_is_written(config: PretrainConfig, changes, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        pretrain(replace(config, **changes))
    assert not os.path.exists(str(config.output)) or not list(Path(str(config.output)).glob("**/*.*"))


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("data", {"crop_scale": [0.5, 0.2]}, "data.crop_scale: expected 0 < low <= high <= 1"),
        ("data", {"size": 16}, "data.size: expected an integer of at least 32, got 16"),
        ("data", {"batch_size": 1}, "data.batch_size: expected an integer of at least 2, got 1"),
        (None, {"label_smoothing": 1.0}, "label_smoothing: expected a number from 0 to 0.999"),
        ("train", {"multi_scale": [64]}, "train.multi_scale: expected none"),
        ("train", {"epochs": "auto"}, "train.epochs: expected a number"),
    ],
)
def test_settings_that_are_refused(config: PretrainConfig, section, changes, message: str) -> None:
    content = asdict(config)
    (content if section is None else content[section]).update(changes)
    with pytest.raises(ValueError, match=message):
        PretrainConfig(
            **{
                **content,
                "model": BackboneConfig(**content["model"]),
                "data": FolderConfig(**content["data"]),
                "optim": config.optim,
                "train": TrainConfig(**content["train"]),
            }
        )
