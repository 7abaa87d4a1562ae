"""A training run from its configuration: `refinedet train`."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from refinedet_ext.machine import multiplies_bfloat16

from ..data import to_coco_dict
from ..detectors import Detector
from ..evaluation import Evaluator, format_table, plot_training_curves, write_metrics
from ..fine_tuning import check_agrees, file_spec, start_from
from ..folders import make_folder
from ..pretrained import backbone_options
from ..registry import create_model, model_entry
from ..transfer import VOC_IN_COCO, subsample_classes
from ..weights import load_model
from .callbacks import Progress, SaveModels
from .checks import check_batch_size, check_run
from .class_weights import with_class_weights
from .config import RunConfig
from .data import DetectionData, open_split, write_holdout
from .module import DetectionModule

logger = logging.getLogger(__name__)

_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class TrainResult:
    """What a run left: best and last are model files, metrics those of the last evaluation on val.

    best_metric: the highest value of the main metric. model: its name in the registry.
    """

    model: str
    output: Path
    best: Path
    last: Path
    metrics: dict[str, Any]
    best_metric: float


def train(config: RunConfig) -> TrainResult:
    """Train a detector as `config` says, and leave everything in `config.output`.

    There: `config.yaml` (the resolved configuration), `split.json` (which images were held out for validation, where
    the data has no part for it), `checkpoints/last.ckpt` (to resume from), `best.safetensors`
    and `last.safetensors` (models for `refinedet eval` and `predict`), `metrics.json`, `curves.png`, and
    `logs/version_0/` (CSV and TensorBoard; a resumed run goes on in `version_1/`).

    Raises ValueError for a configuration that does not hold together, before anything is written or trained, and
    NonFiniteLoss when the loss stops being a number.
    """
    config.train.check_length()
    check_run(config)
    config = with_model(with_precision(config))
    output = Path(config.output)
    _check_output(config, output)
    train_set = open_split(config.data, "train")
    names = train_set.class_names
    val_set = open_split(config.data, "val", names, allow_empty=True)
    pl.seed_everything(config.train.seed, verbose=False)
    config = with_class_weights(with_backbone_options(config), train_set)
    model = build_model(config, names)
    assert model.spec is not None  # both ways of building a model leave it
    check_batch_size(model, config.data.batch_size, config.train.frozen)
    data = DetectionData(
        config.data,
        train_set,
        val_set,
        size=model.config.input_size,
        normalization=model.normalization,
        seed=config.train.seed,
    )
    evaluator = Evaluator(to_coco_dict(val_set), names)
    module = DetectionModule(
        model,
        config.optim,
        evaluator,
        kind=config.evaluation.kind,
        channels_last=config.train.channels_last,
        frozen=config.train.frozen,
    )
    save = SaveModels(output, names, config.evaluation.main_metric)
    with warnings.catch_warnings():
        _quiet()
        steps_per_epoch = len(train_set) // (config.data.batch_size * _processes(config.train.devices))
        trainer = build_trainer(config, output, save, steps_per_epoch=max(1, steps_per_epoch))
        if trainer.is_global_zero:
            make_folder(output)
            write_config(config, output / "config.yaml")
            write_holdout(train_set, val_set, output / "split.json")
        trainer.fit(module, datamodule=data, ckpt_path=config.train.resume)
        if save.evaluated_step != trainer.global_step:  # the run ended between two evaluations
            trainer.validate(module, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        write_metrics(output / "metrics.json", module.last_metrics, model=model.spec.name, step=trainer.global_step)
        plot_training_curves(Path(trainer.loggers[0].log_dir or "") / "metrics.csv", output / "curves.png")
        print(format_table(module.last_metrics), flush=True)
    return TrainResult(
        model.spec.name,
        output,
        output / "best.safetensors",
        output / "last.safetensors",
        module.last_metrics,
        save.best,
    )


def with_precision(config: RunConfig) -> RunConfig:
    """The run with "auto" settled by what its device multiplies by itself; bfloat16 that a CPU emulates is logged."""
    settings = config.train
    if settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = multiplies_bfloat16()
    if settings.precision == "auto":
        return dataclasses.replace(config, train=dataclasses.replace(settings, precision="bf16" if fast else "32"))
    on_cpu = settings.accelerator == "cpu" or (settings.accelerator == "auto" and not torch.accelerator.is_available())
    if settings.precision == "bf16" and on_cpu and not fast:
        logger.warning("train.precision: this CPU has no instructions for bf16 and emulates it slowly; take 32 or auto")
    return config


def with_model(config: RunConfig) -> RunConfig:
    """The run with its model's name where it has none: that of the file `model.weights`, or the default.

    ValueError if name or options contradict the file.
    """
    weights, name = config.model.weights, config.model.registered
    if weights is not None:
        check_agrees(weights, config.model.name, config.model.options)
        header = file_spec(weights)
        name = name if header is None else header["model"]["name"]
    return dataclasses.replace(config, model=dataclasses.replace(config.model, name=name))


def with_backbone_options(config: RunConfig) -> RunConfig:
    """The run with the options that its backbone's weights expect, so that its config.yaml holds them, see
    `create_model`."""
    path = config.model.backbone_weights
    if path is None:
        return config
    options = backbone_options(path, model_entry(config.model.registered).options, config.model.options)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, options=options))


def build_model(config: RunConfig, class_names: list[str]) -> Detector:
    """The model of a run: from the registry, or from the file that `model.weights` names."""
    num_classes = len(class_names) + 1
    if config.model.weights is None:
        return create_model(
            config.model.registered,
            num_classes,
            backbone_weights=config.model.backbone_weights,
            **config.model.options,
        )
    if config.model.backbone_weights is not None:
        raise ValueError("model.backbone_weights: model.weights brings those already; give one of the two")
    config = with_model(config)
    assert config.model.weights is not None
    same = config.model.subsample_classes
    if same is not None:
        checkpoint = load_model(config.model.weights)
        if checkpoint.class_names is not None:
            names = VOC_IN_COCO if same == "voc_in_coco" else same
            return subsample_classes(checkpoint.model, checkpoint.class_names, class_names, same=names).train()
    start = start_from(
        config.model.weights,
        class_names,
        name=config.model.registered,
        options=config.model.options,
        strict=config.model.strict,
    )
    logger.log(logging.INFO if start.whole else logging.WARNING, "model.weights: %s", start.describe())
    return start.model.train()


def build_trainer(config: RunConfig, output: Path, save: SaveModels, *, steps_per_epoch: int) -> pl.Trainer:
    settings = config.train
    version = len(list(output.glob("logs/version_*")))
    checkpoint = ModelCheckpoint(
        dirpath=output / "checkpoints",
        filename="last",  # each takes the place of the one before
        every_n_epochs=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy="auto" if _processes(settings.devices) == 1 else "ddp",
        precision=_PRECISION[settings.precision],  # type: ignore[arg-type]
        max_steps=-1 if settings.iterations is None else settings.iterations,
        max_epochs=-1 if settings.epochs is None else settings.epochs,
        max_time=None if settings.max_minutes is None else timedelta(minutes=settings.max_minutes),
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        sync_batchnorm=settings.sync_batchnorm,
        check_val_every_n_epoch=settings.eval_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=min(10, steps_per_epoch),
        logger=[
            CSVLogger(output, name="logs", version=version),
            TensorBoardLogger(output, name="logs", version=version),
        ],
        callbacks=[Progress(config.evaluation.main_metric), LearningRateMonitor("step"), save, checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=output,
    )


def write_config(config: RunConfig, path: Path) -> None:
    path.write_text(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def _check_output(config: RunConfig, output: Path) -> None:
    """A run never writes over another one."""
    if config.train.resume is not None:
        if not Path(config.train.resume).is_file():
            raise FileNotFoundError(f"train.resume: no file {config.train.resume}")
    elif (output / "checkpoints").exists():
        raise ValueError(
            f"output: {output} holds a run already; give another folder, or go on with it by "
            f"train.resume={output / 'checkpoints' / 'last.ckpt'}"
        )


def _processes(devices: int | Literal["auto"]) -> int:
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun
    if world > 1:
        return world
    return devices if isinstance(devices, int) and devices > 0 else (torch.cuda.device_count() or 1)


def _quiet() -> None:
    """Leaves out Lightning's advertisements, and its warnings about what is meant as it is here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*The number of training batches.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
