"""A training run from its configuration: `refinedet train`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import EarlyStopping

from ..data.summary import describe
from ..evaluation import format_table, plot_training_curves, write_metrics
from .callbacks import SaveModels, ValidationImages
from .checkpoints import FILE, Checkpoints
from .checks import check_run
from .config import RunConfig
from .ema import WeightAverage
from .progress import Progress
from .resume import Resumed, check_model, counts_classes, read_checkpoint
from .run_folder import bring_best, check_output, claimed, is_main_process, run_folder
from .setup import Setup, set_up
from .splits import write_holdout
from .start import with_model, with_precision
from .trainer import build_loggers, build_trainer, quiet

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
        model: its name in the registry.
        output: the run's folder.
        best, last: model files; best is last where evaluation.select is "last" and where validation had no objects.
        metrics: those of `best` on val.
        best_metric: the main one, None where there was nothing to measure.
    """

    model: str
    output: Path
    best: Path
    last: Path
    metrics: dict[str, Any]
    best_metric: float | None


def train(config: RunConfig, *, callbacks: Sequence[pl.Callback] = (), loggers: Sequence[Logger] = ()) -> TrainResult:
    """Train a detector as `config` says, and leave everything in its `output`.

    There: `config.yaml` (the resolved configuration), `split.json` (which images were held out for validation, where
    the data has no part for it), `checkpoints/last.ckpt` (to resume from), `best.safetensors` and `last.safetensors`
    (models for `refinedet eval` and `predict`; the former where evaluation.select is "best"), `metrics.json`,
    `curves.png`, and `logs/version_0/` (CSV and TensorBoard; a resumed run goes on in `version_1/`).

    callbacks, loggers: of Lightning, besides those that the configuration names.

    Raises ValueError for a configuration that does not hold together, before anything is written or trained;
    NonFiniteLoss when the loss stops being a number; Interrupted after SIGINT or SIGTERM, when a checkpoint is written.
    """
    config.train.check_length()
    check_run(config)
    config = with_precision(config)
    resumed: Resumed | None = None
    count_classes = counts_classes(config.model.options)
    if config.train.resume is not None:
        resumed = read_checkpoint(config.train.resume)
        check_model(resumed.run, config.model.name, config.model.options)
        config = _with_model_of(resumed.run, config)
    else:
        config = with_model(config)
    checkpoint = None if resumed is None else resumed.file
    check_output(config.output, checkpoint)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        setup = set_up(config, resumed, count_classes=count_classes)
        output = run_folder(config.output, checkpoint, "runs/train")
        if is_main_process():
            stack.enter_context(claimed(output))
        return _run(setup, output, resumed, callbacks, loggers)


def _run(
    setup: Setup,
    output: Path,
    resumed: Resumed | None,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
) -> TrainResult:
    checkpoint = None if resumed is None else resumed.file
    config, module = dataclasses.replace(setup.config, output=str(output)), setup.module
    settings, metric = config.train, config.evaluation.main_metric
    save = SaveModels(output, setup.class_names, metric, config.evaluation.select)
    command = f"refinedet train --config {output / 'config.yaml'} --train.resume {output / 'checkpoints' / FILE}"
    own: list[pl.Callback] = [
        *([] if settings.ema is None else [WeightAverage(settings.ema)]),
        *([] if setup.limit is None else [setup.limit]),
        Progress(metric, setup.data),
        save,
        *([] if settings.early_stopping is None else [early_stopping(metric, settings.early_stopping)]),
        *([ValidationImages(setup.val_set)] if "tensorboard" in settings.loggers else []),
        Checkpoints(output / "checkpoints", setup.run, minutes=settings.save_minutes, command=command),
    ]
    trainer = build_trainer(
        config.train,
        output,
        callbacks=[*own, *callbacks],
        loggers=[*build_loggers(settings.loggers, output), *loggers],
        steps=len(setup.train_set) // config.data.batch_size,
    )
    if resumed is not None:
        resumed.check_loop(trainer.fit_loop.state_dict())
    if trainer.is_global_zero:
        print(describe({"train": setup.train_set, "val": setup.val_set}, setup.model.config.input_size), flush=True)
        if setup.run["processes"] > 1:
            print(
                f"a batch of {config.data.batch_size} images: {setup.data.share} in each of "
                f"{setup.run['processes']} processes",
                flush=True,
            )
        write_config(config, output / "config.yaml")
        write_holdout(setup.train_set, setup.val_set, output / "split.json")
        if checkpoint is not None:
            bring_best(checkpoint, output)
    trainer.fit(module, datamodule=setup.data, ckpt_path=checkpoint, weights_only=True)
    if save.evaluated_step != trainer.global_step:  # the run ended between two evaluations
        trainer.validate(module, datamodule=setup.data, verbose=False)
    name = str(setup.run["model"]["name"])
    if trainer.is_global_zero:
        _report(save, output, name, setup)
    selected = save.best_metrics is not None
    return TrainResult(
        name,
        output,
        save.best_file if selected else save.last_file,
        save.last_file,
        save.best_metrics or save.last_metrics,
        save.best if selected else save.last_value,
    )


def write_config(config: DataclassInstance, path: Path) -> None:
    path.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _with_model_of(run: dict[str, Any], config: RunConfig) -> RunConfig:
    """The config with the model of the run that is resumed, and what that one began with."""
    before = run["config"]["model"]
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **before))


def early_stopping(metric: str, patience: int) -> EarlyStopping:
    return EarlyStopping(metric, mode="max", patience=patience, strict=False, check_finite=False)


def _report(save: SaveModels, output: Path, name: str, setup: Setup) -> None:
    """Metrics as a file and as a table, and the curves."""
    logs = sorted(output.glob("logs/version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    plot_training_curves(logs, output / "curves.png")
    chosen = save.best_metrics is not None
    metrics, epoch, step = save.last_metrics, save.last_epoch, save.last_step
    if save.best_metrics is not None:
        metrics, epoch, step = save.best_metrics, save.best_epoch, save.best_step
    write_metrics(
        output / "metrics.json",
        metrics,
        model=name,
        epoch=epoch,
        step=step,
        selected="best" if chosen else "last",
        last={"epoch": save.last_epoch, "step": save.last_step, save.metric: save.last_value},
        val_images_in_train=setup.val_in_train,
    )
    where = f"of epoch {epoch + 1} (step {step}), on the validation images"
    if setup.val_in_train:
        where += f", {setup.val_in_train:,} of {len(setup.val_set):,} of which it was trained on"
    if chosen:
        print(f"\nthe best model by {save.metric}, {where}:")
        print(format_table(metrics))
    elif save.last_value is None:
        source = setup.val_set.report.source
        print(f"no objects in {source}: nothing was measured, and the last model is all there is")
    else:
        print(f"\nthe last model, as evaluation.select says, {where}:")
        print(format_table(metrics))
    sys.stdout.flush()
