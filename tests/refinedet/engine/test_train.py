from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import refinedet.engine.setup
from refinedet.engine import EvalConfig, TrainConfig, start
from refinedet.engine.module import DetectionModule, NonFiniteLoss
from refinedet.engine.start import build_model, with_precision
from refinedet.engine.train import train, write_config
from refinedet.predictor import Predictor
from refinedet.registry import create_model
from refinedet.weights import load_model, save_model


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).model.state_dict()


def test_run_leaves_everything(config, rendered):
    result = train(config)
    out = result.output
    for name in ("config.yaml", "metrics.json", "curves.png", "best.safetensors", "last.safetensors"):
        assert (out / name).stat().st_size > 0, name
    assert (out / "checkpoints/last.ckpt").exists()
    assert list(out.glob("logs/version_0/events*")), "TensorBoard's file"
    assert yaml.safe_load((out / "config.yaml").read_text())["data"]["batch_size"] == 4
    metrics = json.loads((out / "metrics.json").read_text())
    assert 0 <= metrics["AP50"] <= 1 and set(metrics["per_class"]) == set(load_model(result.last).class_names)
    with open(out / "logs/version_0/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert any(row["AP50"] for row in rows) and "loss/odm_cls" in rows[0]
    prediction = Predictor.from_file(result.best)(sorted((rendered / "test").glob("*"))[0], score_threshold=0.0)
    assert prediction.boxes.shape == (len(prediction), 4)


def test_training_changes_the_weights_and_the_same_seed_repeats_them(config, tmp_path):
    first = weights_of(train(config).last)
    again = weights_of(train(replace(config, output=str(tmp_path / "again"))).last)
    other_train = replace(config.train, seed=1)
    other = weights_of(train(replace(config, train=other_train, output=str(tmp_path / "other"))).last)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(config, tmp_path, monkeypatch):
    config = replace(config, train=replace(config.train, epochs=3))
    whole = weights_of(train(config).last)

    class Interrupted(Exception):
        pass

    step = DetectionModule.training_step

    def fail_in_second_epoch(self, batch, index):
        if self.global_step == 4:
            raise Interrupted
        return step(self, batch, index)

    parts = replace(config, output=str(tmp_path / "parts"))
    with monkeypatch.context() as patch:
        patch.setattr(DetectionModule, "training_step", fail_in_second_epoch)
        with pytest.raises(Interrupted):
            train(parts)
    with pytest.raises(ValueError, match="output: .* holds a run already"):
        train(parts)
    resume = str(tmp_path / "parts/checkpoints/last.ckpt")
    again = replace(parts, train=replace(parts.train, resume=resume))
    resumed = weights_of(train(again).last)
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    finished = train(again)  # nothing is left to do: it is evaluated once more and stays as it is
    assert all(torch.equal(whole[k], v) for k, v in weights_of(finished.last).items())


def test_non_finite_loss_names_the_pictures_and_stops(config, monkeypatch):
    def poisoned(self, outputs, batch):
        losses = type(self).loss(self, outputs, batch)
        return {**losses, "total": losses["total"] * float("nan")}

    module = refinedet.engine.setup
    create = module.build_model

    def build(*args):
        model = create(*args)
        model.loss = poisoned.__get__(model)
        return model

    monkeypatch.setattr(module, "build_model", build)
    with pytest.raises(NonFiniteLoss, match="not finite at iteration 0") as caught:
        train(config)
    assert len(caught.value.paths) == 4
    assert all(Path(p).is_file() and p in str(caught.value) for p in caught.value.paths)


def test_bf16_accumulation_and_iterations(config):
    settings = TrainConfig(iterations=2, precision="bf16", accumulate=2, clip_norm=1.0, accelerator="cpu", devices=1)
    result = train(replace(config, train=settings, evaluation=EvalConfig(kind="voc12")))
    metrics = json.loads((result.output / "metrics.json").read_text())
    assert metrics["step"] == 2 and 0 <= metrics["mAP"] <= 1
    assert all(v.isfinite().all() for v in weights_of(result.last).values())


@pytest.mark.parametrize("fast", [True, False])
def test_precision_follows_what_the_cpu_multiplies(config, fast, monkeypatch, caplog):
    monkeypatch.setattr(start, "multiplies_bfloat16", lambda: fast)

    def settle(precision):
        return with_precision(replace(config, train=replace(config.train, precision=precision))).train.precision

    assert settle("auto") == ("bf16" if fast else "32") and settle("32") == "32"
    assert not caplog.text
    assert settle("bf16") == "bf16"
    assert ("no instructions for bf16" in caplog.text) == (not fast)


@pytest.mark.parametrize("length", [{"epochs": 3}, {"iterations": 4}])
def test_a_run_that_ends_between_evaluations_is_evaluated_and_saved(config, length):
    settings = TrainConfig(**length, eval_every=2, accelerator="cpu", devices=1)
    result = train(replace(config, train=settings))
    metrics = json.loads((result.output / "metrics.json").read_text())
    steps = 9 if "epochs" in length else 4
    assert metrics["step"] == steps and "AP50" in metrics
    assert load_model(result.last).info["step"] == steps


def test_fine_tuning_starts_from_the_weights_of_a_file(config, tmp_path):
    first = train(config)
    tuned = replace(
        config,
        model=replace(config.model, weights=str(first.last)),
        optim=replace(config.optim, lr=1e-12, warmup_iterations=0, weight_decay=0.0),
        output=str(tmp_path / "tuned"),
    )
    before, after = weights_of(first.last), weights_of(train(tuned).last)
    learned = [k for k in before if "running" not in k and "num_batches" not in k]
    for name in learned:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-7)


def test_a_model_of_more_classes_starts_with_those_of_the_data(config, tmp_path):
    config = replace(config, train=replace(config.train, epochs=1))
    names = load_model(train(config).last).class_names
    many = [*names, "unicorn"]
    torch.manual_seed(0)
    file = tmp_path / "many.safetensors"
    save_model(create_model(config.model.name, len(many) + 1, **config.model.options), file, class_names=many)
    model = replace(config.model, weights=str(file), strict=True)
    with pytest.raises(ValueError, match="model.weights: expected a model of the classes"):
        build_model(replace(config, model=model), names)
    built = build_model(replace(config, model=replace(model, subsample_classes={})), names)
    assert built.num_classes == len(names) + 1 and built.training
    bias = load_model(file).model.odm.cls[0].bias.unflatten(0, (-1, len(many) + 1))
    assert torch.equal(built.odm.cls[0].bias.unflatten(0, (-1, len(names) + 1)), bias[:, :-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": TrainConfig()}, "train.iterations, train.epochs: expected one of them"),
    ],
)
def test_configuration_that_does_not_hold_together(config, change, message):
    with pytest.raises(ValueError, match=message):
        train(replace(config, **change))


def test_monitor_must_be_a_metric_of_the_kind():
    with pytest.raises(ValueError, match="evaluation.monitor: expected one of .*'AP50'.*got 'mAP'"):
        EvalConfig(monitor="mAP")


def test_batch_larger_than_the_data_set(config):
    with pytest.raises(ValueError, match="data.batch_size: expected at most the 12 training images, got 13"):
        train(replace(config, data=replace(config.data, batch_size=13)))


@pytest.mark.slow
def test_two_processes_one_of_them_without_objects(config, rendered, tmp_path):
    """A rank whose images hold no object must neither hang nor disagree with the other one."""
    annotations = json.loads((rendered / "annotations/train.json").read_text())
    keep = {image["id"] for image in annotations["images"][:2]}  # most batches of a rank are without objects
    annotations["annotations"] = [a for a in annotations["annotations"] if a["image_id"] in keep]
    sparse = tmp_path / "sparse.json"
    sparse.write_text(json.dumps(annotations))
    out = tmp_path / "ddp"
    arguments = [
        *("train", "--model.name=refinedet192_small", '--model.options={"input_size": 64, "tcb_channels": 16}'),
        *("--data.format=coco", f"--data.root={rendered}", "--data.train.image_dir=train"),
        *(f"--data.train.annotation_file={sparse}", "--data.val.image_dir=test"),
        *("--data.val.annotation_file=annotations/test.json", "--data.batch_size=4", "--data.workers=0"),
        *("--train.epochs=2", "--train.accelerator=cpu", f"--output={out}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "REFINEDET_TRACEBACK": "1"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "refinedet.cli",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["last"]["step"] == 6  # 12 images, batches of 4, 2 epochs
    assert "batch of 4 images: 2 in each of 2 processes" in done.stdout
    assert all(v.isfinite().all() for v in weights_of(out / "last.safetensors").values())


@pytest.mark.slow
def test_two_machines_of_one_process_each(config, tmp_path):
    """As docs/deploy/many_machines.md has it, with two torchrun on this machine."""
    config = replace(config, train=TrainConfig(epochs=2, accelerator="cpu"))
    write_config(replace(config, output=None), tmp_path / "given.yaml")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    train = ["-m", "refinedet.cli", "train", f"--config={tmp_path}/given.yaml", f"--output={tmp_path}/run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen([*torchrun, f"--node-rank={rank}", *train], stderr=subprocess.PIPE, text=True, env=environment)
        for rank in (0, 1)
    ]
    errors = [run.communicate(timeout=240)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    assert json.loads((tmp_path / "run/metrics.json").read_text())["last"]["step"] == 6
