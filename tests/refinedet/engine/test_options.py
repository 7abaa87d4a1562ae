"""What the options of a run do."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from refinedet.cli import main
from refinedet.engine import OptimConfig, RunConfig, TrainConfig
from refinedet.engine.gradient_checkpointing import checkpoint_activations
from refinedet.engine.lr_finder import find_lr, steepest
from refinedet.engine.module import DetectionModule
from refinedet.engine.optim import lr_factor
from refinedet.engine.run_folder import claimed
from refinedet.engine.start import automatic_epochs
from refinedet.engine.train import train
from refinedet.evaluation import Evaluator
from refinedet.folders import free_folder
from refinedet.registry import create_model
from refinedet.weights import load_model

CPU = {"accelerator": "cpu", "devices": 1, "loggers": []}


def with_train(config: RunConfig, **settings: object) -> RunConfig:
    return replace(config, train=TrainConfig(**{**CPU, **settings}))


def metrics_of(values: list[float | None]):
    """An evaluation that gives these values of AP, one after the other."""
    left = iter(values)
    compute = Evaluator.compute

    def fake(self, *args, **options):
        value = next(left)
        return {**compute(self, *args, **options), "AP": value, "AP50": value}

    return fake


def test_average_of_the_weights(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved model is the average, by hand: a_n = a + (w - a) * (1 - min(decay, (1 + n) / (10 + n)))."""
    seen: list[dict[str, torch.Tensor]] = []
    step = pl.Callback.on_train_batch_end

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            step(self, trainer, pl_module, *args)
            seen.append({k: v.detach().double().clone() for k, v in pl_module.model.state_dict().items()})

    result = train(with_train(config, epochs=2, ema=0.3), callbacks=[Watch()])
    expected = seen[0]
    for n, weights in enumerate(seen[1:], start=1):
        share = 1 - min(0.3, (1 + n) / (10 + n))
        expected = {key: value + (weights[key] - value) * share for key, value in expected.items()}
    saved = load_model(result.last).model.state_dict()
    floats = [key for key, value in saved.items() if value.is_floating_point()]
    for key in floats:
        torch.testing.assert_close(saved[key].double(), expected[key], rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(saved[key], seen[-1][key].float()) for key in floats)


def test_early_stopping_and_the_table_of_the_best_model(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Evaluator, "compute", metrics_of([0.1, 0.5, 0.4, 0.3, 0.2, 0.1]))
    result = train(with_train(config, epochs=6, early_stopping=2))
    metrics = json.loads((result.output / "metrics.json").read_text())
    assert result.best_metric == metrics["AP"] == 0.5
    assert (metrics["epoch"], metrics["step"]) == (1, 6)
    assert metrics["last"] == {"epoch": 3, "step": 12, "AP": 0.3}, "two evaluations after the best one"
    assert load_model(result.best).info["step"] == 6 and load_model(result.last).info["step"] == 12
    assert "the best model by AP, of epoch 2 (step 6)" in capsys.readouterr().out


def test_validation_without_objects(config, rendered, tmp_path, capsys) -> None:
    annotations = json.loads((rendered / "annotations/test.json").read_text())
    annotations["annotations"] = []
    (tmp_path / "empty.json").write_text(json.dumps(annotations))
    data = replace(config.data, val=replace(config.data.val, annotation_file=str(tmp_path / "empty.json")))
    result = train(replace(with_train(config, epochs=2, early_stopping=1), data=data))
    assert result.best == result.last and result.best.exists() and result.best_metric is None
    assert not (result.output / "best.safetensors").exists()
    assert "nothing was measured" in capsys.readouterr().out


def test_time_limit_completes_the_schedule(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run of 1000 epochs that may take twenty seconds, the rate has fallen to its end at the last step."""
    rates = []
    clock = itertools.count(step=0.5)
    monkeypatch.setattr("refinedet.engine.stopping.time.monotonic", lambda: next(clock))

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    optim = OptimConfig(lr=0.001, schedule="cosine", final_factor=0.0)
    run = with_train(config, epochs=1000, eval_every=1000, max_minutes=20 / 60)
    result = train(replace(run, optim=optim), callbacks=[Watch()])
    assert 2 <= len(rates) < 900
    assert rates[-1] < 0.1 * rates[0] and rates == sorted(rates, reverse=True)
    assert json.loads((result.output / "metrics.json").read_text())["last"]["step"] == len(rates)
    short = with_train(replace(config, output=config.output + "2"), max_minutes=5 / 60)
    assert train(short).last.exists(), "without another length"


def test_schedule_by_time() -> None:
    cosine = OptimConfig(schedule="cosine")
    assert lr_factor(10, cosine, total=math.inf, per_epoch=1, share=0.5) == pytest.approx(0.5)
    assert lr_factor(90, cosine, total=100, per_epoch=1, share=0.1) == lr_factor(90, cosine, total=100, per_epoch=1)
    step = OptimConfig(milestones=[50, 80])
    assert lr_factor(10, step, total=100, per_epoch=1, share=0.6) == pytest.approx(0.1)
    assert lr_factor(10, step, total=math.inf, per_epoch=1, share=0.6) == 1


def test_automatic_length() -> None:
    assert [automatic_epochs(n) for n in (1, 205, 2000, 100_000)] == [300, 98, 12, 12]


@pytest.mark.parametrize(
    "name", ["refinedet320_efficientnet_lite0", "refinedet320_resnet101", "refinedet320_vgg16", "efgrnet320_vgg16"]
)
def test_gradient_checkpointing_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    options = {"input_size": 128} if "efgrnet" in name else {"input_size": 64}
    plain = create_model(name, 4, **options).train()
    saving = copy.deepcopy(plain)
    checkpoint_activations(saving.backbone)
    images = torch.randn(2, 3, options["input_size"], options["input_size"])
    recomputed = []
    for module in saving.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *args: recomputed.append(1))
    for model in (plain, saving):
        sum(map_.square().mean() for map_ in model.backbone(images)).backward()
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in saving.backbone.modules())
    assert len(recomputed) > 1.5 * convolutions, "most run twice"
    for (key, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), key
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7)
    for (key, one), other in zip(plain.named_buffers(), saving.buffers(), strict=True):
        assert torch.equal(one, other), key


def test_compiled_and_plain_training_agree(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As captured by torch.compile, without code being generated, which takes minutes; beside an average, which is a
    copy of the compiled model."""
    compiled = []
    compile_ = torch.nn.Module.compile

    def capture(self, *args, **options):
        compiled.append(type(self).__name__)
        compile_(self, *args, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", capture)
    plain = train(with_train(config, epochs=1, ema=0.5))
    again = train(with_train(replace(config, output=config.output + "2"), epochs=1, ema=0.5, compile=True))
    assert compiled == ["RefineDet"]
    one, other = (load_model(result.last).model.state_dict() for result in (plain, again))
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-4, atol=1e-6)


def test_training_with_gradient_checkpointing_ends_with_the_same_weights(config: RunConfig) -> None:
    plain = train(with_train(config, epochs=1, ema=0.5))
    saving = with_train(replace(config, output=config.output + "2"), epochs=1, ema=0.5, gradient_checkpointing=True)
    one, other = (load_model(result.last).model.state_dict() for result in (plain, train(saving)))
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-5, atol=1e-7)


def test_multi_scale_takes_every_size(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    forward = DetectionModule.forward

    def watched(self, images):
        sizes.append(images.shape[-1])
        return forward(self, images)

    monkeypatch.setattr(DetectionModule, "forward", watched)
    train(with_train(config, epochs=4, eval_every=4, multi_scale=[64, 128]))
    assert set(sizes) == {64, 128} and len(sizes) == 12
    with pytest.raises(ValueError, match="input_size: expected a multiple of 64, got 100"):
        train(with_train(replace(config, output=config.output + "2"), epochs=1, multi_scale=[100]))


def test_loggers_by_name_and_from_python(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="train.loggers: wandb needs the package wandb: pip install wandb"):
        train(with_train(config, epochs=1, loggers=["wandb"]))
    mine = CSVLogger(tmp_path, name="mine")
    result = train(with_train(replace(config, output=config.output + "2"), epochs=1), loggers=[mine])
    assert (tmp_path / "mine/version_0/metrics.csv").exists()
    assert not list(result.output.glob("logs/version_0/events*")), "TensorBoard was not asked for"


def test_tensorboard_gets_pictures(config: RunConfig) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(with_train(config, epochs=2, loggers=["tensorboard"]))
    events = EventAccumulator(str(next(result.output.glob("logs/version_0"))), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == [f"validation/{i}" for i in range(4)]
    shown = events.Images("validation/0")
    assert [image.step for image in shown] == [3, 6]
    assert shown[0].width == 128


def test_tensorboard_leaves_out_images_that_cannot_be_read(config: RunConfig, rendered: Path, tmp_path: Path) -> None:
    """One that goes bad after the data set was opened: here, one that a callback damages before the evaluation."""
    root = tmp_path / "data"
    shutil.copytree(rendered, root)

    class Damage(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            first = trainer.datamodule.val_set.record(0).path
            Path(first).write_bytes(Path(first).read_bytes()[:200])

    run = with_train(config, epochs=1, loggers=["tensorboard"])
    result = train(replace(run, data=replace(config.data, root=str(root))), callbacks=[Damage()])
    assert result.last.exists()


def test_learning_rate_finder(config: RunConfig, tmp_path: Path) -> None:
    from refinedet.engine.train import write_config

    found = find_lr(replace(config, output=str(tmp_path / "found")), steps=24, lowest=1e-5, highest=10.0)
    assert 2 < len(found.rates) == len(found.losses) < 24 and found.rates == sorted(found.rates)
    assert found.plot.stat().st_size > 1000
    assert [file.name for file in (tmp_path / "found").iterdir()] == ["lr_finder.png"]
    with pytest.raises(ValueError, match="output: .*lr_finder.png exists"):
        find_lr(replace(config, output=str(tmp_path / "found")), steps=12)
    write_config(replace(config, output=None), tmp_path / "run.yaml")
    assert main(["find_lr", "--config", str(tmp_path / "run.yaml"), "--output", str(tmp_path / "again")]) == 0


def test_steepest_fall_is_that_over_the_exponent() -> None:
    """A loss that falls from 10 to 2 around a rate of 1e-3: by amount it falls most at the lowest rates."""
    rates = np.logspace(-6, -1, 101)
    losses = 6 - 4 * np.tanh(3 * (np.log10(rates) + 3))
    assert steepest(rates, losses) == pytest.approx(1e-3)
    assert steepest(rates, losses[::-1]) is None and steepest(rates[:1], losses[:1]) is None


def test_two_runs_do_not_share_a_folder(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        claimed(Path(config.output)),
        pytest.raises(ValueError, match="output: another process is training into .*run"),
    ):
        train(with_train(config, epochs=1))
    monkeypatch.chdir(tmp_path)
    first = train(with_train(replace(config, output=None), epochs=1))
    second = train(with_train(replace(config, output=None), epochs=1))
    assert (str(first.output), str(second.output)) == ("runs/train", "runs/train-2")
    assert free_folder("runs/train") == Path("runs/train-3")
    with pytest.raises(ValueError, match="output: runs/train holds a run already"):
        train(with_train(replace(config, output="runs/train"), epochs=1))
    assert not list(Path("runs").rglob(".running"))


def test_lines_of_a_log_file(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    train(with_train(config, epochs=2))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert re.match(r"epoch 1  step 3/6  loss \d+\.\d+  AP \d+\.\d+ .*elapsed 0:\d\d  left 0:\d\d", lines[0])
    assert "step 6/6" in lines[-1]


def test_a_full_disk_leaves_the_last_checkpoint_whole(config: RunConfig) -> None:
    """From the second checkpoint on no file may grow beyond a few bytes."""
    resource = pytest.importorskip("resource")  # Python ignores the signal that comes with the limit
    whole = Path(config.output) / "checkpoints/last.ckpt"

    class Fill(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == 5:
                self.kept = whole.read_bytes()
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    fill = Fill()
    try:
        with pytest.raises(OSError, match="File too large|checkpoint"):
            train(with_train(config, epochs=2), callbacks=[fill])
    finally:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert whole.read_bytes() == fill.kept
    resumed = train(replace(config, train=TrainConfig(**CPU, epochs=2, resume=config.output)))
    assert json.loads((resumed.output / "metrics.json").read_text())["last"]["step"] == 6
    assert os.path.exists(resumed.best) and np.isfinite(resumed.best_metric or 0)


def test_the_folder_of_the_rate_finder_is_looked_at_first(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="output: expected a folder, .*file is none"):
        find_lr(replace(config, output=str(tmp_path / "file/x"), data=replace(config.data, root="nowhere")))
