"""A pretraining from its configuration: `refinedet pretrain`."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl

from ..backbones import backbone_file
from ..backbones.backbone_file import Origin, save_backbone
from ..detectors import Detector
from ..engine.callbacks import SaveModels
from ..engine.checkpoints import FILE, Checkpoints, describe_run
from ..engine.checks import check_machine, check_model_options
from ..engine.data import BatchData
from ..engine.ema import WeightAverage
from ..engine.gradient_checkpointing import checkpoint_activations
from ..engine.norms import set_norm_momentum, with_norm_momentum
from ..engine.processes import find_processes, share_of_batch
from ..engine.progress import Progress
from ..engine.resume import Resumed, check_model, check_resumable, read_checkpoint
from ..engine.run_folder import bring_best, check_output, claimed, is_main_process, run_folder
from ..engine.start import settled
from ..engine.stopping import TimeLimit
from ..engine.train import early_stopping, write_config
from ..engine.trainer import build_loggers, build_trainer, quiet
from ..evaluation import plot_training_curves, write_metrics
from ..folders import check_folder
from ..pretrained import backbone_options
from ..registry import create_model, model_entry
from .augment import MiddlePart, RandomPart
from .classifier import Classifier
from .config import PretrainConfig
from .folder import ImageFolder, open_folder
from .module import METRIC, ClassificationModule

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

COMMAND = "pretrain"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining left.

    best, last: backbone files, for `create_model(backbone_weights=...)`. metrics: top1 and top5 of the best on the
    images that were held out, from 0 to 1.
    """

    output: Path
    best: Path
    last: Path
    metrics: dict[str, Any]


def pretrain(
    config: PretrainConfig, *, callbacks: Sequence[pl.Callback] = (), loggers: Sequence[Logger] = ()
) -> PretrainResult:
    """Train the backbone of a detector as a classifier, and leave everything in the `output` of the config.

    There: `best.safetensors` and `last.safetensors`, backbone files that say which options of a detector they expect;
    `config.yaml`, `checkpoints/last.ckpt`, `metrics.json`, `curves.png` and `logs/` as a training leaves them.

    Raises as `engine.train.train` does.
    """
    config.train.check_length()
    check_machine(config.train)
    _check_batch(config)
    config = dataclasses.replace(config, train=settled(config.train))
    if config.output is not None:
        check_folder(config.output)
    resumed: Resumed | None = None
    if config.train.resume is not None:
        resumed = read_checkpoint(config.train.resume, COMMAND)
        check_model(resumed.run, config.model.name, config.model.options)
        model = dataclasses.replace(config.model, **resumed.run["config"]["model"])
        config = dataclasses.replace(config, model=model)
    settings = with_norm_momentum(config.train, random_weights=config.model.backbone_weights is None)
    config = dataclasses.replace(config, train=settings)
    check_model_options(config.model.registered, config.model.options)
    checkpoint = None if resumed is None else resumed.file
    check_output(config.output, checkpoint)
    with ExitStack() as stack:
        stack.enter_context(quiet())
        train_set, val_set = open_folder(config.data)
        detector = _detector(config, resumed)
        run = _describe(config, detector, train_set, resumed)
        output = run_folder(config.output, checkpoint, "runs/pretrain")
        if is_main_process():
            stack.enter_context(claimed(output))
        config = dataclasses.replace(config, output=str(output))
        return _run(config, detector, (train_set, val_set), run, resumed, callbacks, loggers)


class SaveBackbones(SaveModels):
    """Writes the trunks of the last and of the best network as backbone files."""

    def __init__(self, folder: Path, class_names: list[str], origin: Origin) -> None:
        super().__init__(folder, class_names, METRIC)
        self.origin = origin

    def write(self, model: Any, file: Path, info: dict[str, Any]) -> None:
        save_backbone(model.backbone.trunk_state(), file, self.origin)


def expected_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a detector's options that weights of its backbone expect."""
    shared, own = backbone_file.SHARED, backbone_file.OWN
    return {name: value for name, value in options.items() if name.startswith(own) or name in shared}


def _detector(config: PretrainConfig, resumed: Resumed | None) -> Detector:
    """The detector whose backbone is trained; where a run goes on, without the weights that it began with."""
    pl.seed_everything(config.train.seed, verbose=False)
    if resumed is not None:
        spec = resumed.run["model"]
        return create_model(spec["name"], 2, **spec["options"])
    name, weights = config.model.registered, config.model.backbone_weights
    options = config.model.options
    if weights is not None:
        options = backbone_options(weights, model_entry(name).options, options)
    return create_model(name, 2, backbone_weights=weights, **options)


def _describe(
    config: PretrainConfig, detector: Detector, train_set: ImageFolder, resumed: Resumed | None
) -> dict[str, Any]:
    """What the run is by its nature; ValueError if that is another than of the run that goes on."""
    assert detector.spec is not None  # create_model leaves it
    processes = find_processes(config.train).total
    run = describe_run(config, detector.spec, train_set.class_names, images=len(train_set), processes=processes)
    if resumed is not None:
        for line in check_resumable(resumed.run, run):
            logger.warning("train.resume: %s", line)
    return {**run, "command": COMMAND}


def _run(
    config: PretrainConfig,
    detector: Detector,
    parts: tuple[ImageFolder, ImageFolder],
    run: dict[str, Any],
    resumed: Resumed | None,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
) -> PretrainResult:
    settings, (train_set, val_set) = config.train, parts
    output = Path(str(config.output))
    limit = None if settings.max_minutes is None else TimeLimit(settings.max_minutes, len(val_set))
    module = _module(config, detector, len(train_set.class_names), limit, resumed)
    normalization = detector.normalization
    low, high = config.data.crop_scale
    data = BatchData(
        config.data,
        train_set,
        val_set,
        RandomPart(config.data.size, normalization, (low, high)),
        MiddlePart(config.data.size, normalization),
        seed=settings.seed,
        processes=run["processes"],
    )
    origin = Origin(f"refinedet pretrain of {run['model']['name']}", expected_options(run["model"]["options"]))
    save = SaveBackbones(output, train_set.class_names, origin)
    command = f"refinedet {COMMAND} --config {output / 'config.yaml'} --train.resume {output / 'checkpoints' / FILE}"
    own: list[pl.Callback] = [
        *([] if settings.ema is None else [WeightAverage(settings.ema)]),
        *([] if limit is None else [limit]),
        Progress(METRIC, data),
        save,
        *([] if settings.early_stopping is None else [early_stopping(METRIC, settings.early_stopping)]),
        Checkpoints(output / "checkpoints", run, minutes=settings.save_minutes, command=command),
    ]
    trainer = build_trainer(
        settings,
        output,
        callbacks=[*own, *callbacks],
        loggers=[*build_loggers(settings.loggers, output), *loggers],
        steps=len(train_set) // config.data.batch_size,
    )
    checkpoint = None if resumed is None else resumed.file
    if resumed is not None:
        resumed.check_loop(trainer.fit_loop.state_dict())
    if trainer.is_global_zero:
        print(f"{len(train_set.class_names)} classes, {len(train_set)} images to train on, {len(val_set)} held out")
        write_config(config, output / "config.yaml")
        if checkpoint is not None:
            bring_best(checkpoint, output)
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if save.evaluated_step != trainer.global_step:  # the run ended between two evaluations
        trainer.validate(module, datamodule=data, verbose=False)
    assert save.best_metrics is not None  # there is something to measure in every evaluation
    if trainer.is_global_zero:
        _report(save, output, run["model"]["name"])
    return PretrainResult(output, save.best_file, save.last_file, save.best_metrics)


def _check_batch(config: PretrainConfig) -> None:
    """ValueError where not every process gets as many images of a batch, and 2 or more."""
    processes, size = find_processes(config.train).total, config.data.batch_size
    if share_of_batch(size, processes) < 2:
        raise ValueError(
            f"data.batch_size: expected at least {2 * processes}, as it is the batch of all {processes} processes "
            f"together, got {size}"
        )


def _module(
    config: PretrainConfig, detector: Detector, classes: int, limit: TimeLimit | None, resumed: Resumed | None
) -> ClassificationModule:
    settings = config.train
    model = Classifier(detector.backbone, classes, detector.normalization)
    set_norm_momentum(model, settings.norm_momentum)
    if resumed is not None:
        resumed.check_weights(model)
    module = ClassificationModule(
        model,
        config.optim,
        label_smoothing=config.label_smoothing,
        channels_last=settings.channels_last,
        frozen=settings.frozen,
        time_share=(lambda: 0.0) if limit is None else (lambda: limit.share),
        resumed=resumed is not None,
    )
    if settings.gradient_checkpointing:
        checkpoint_activations(model.backbone)
    if settings.compile:
        model.compile()
    return module


def _report(save: SaveBackbones, output: Path, name: str) -> None:
    """Metrics as a file and as a line, and the curves."""
    metrics = save.best_metrics or {}
    logs = sorted(output.glob("logs/version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    plot_training_curves(logs, output / "curves.png")
    last = {"epoch": save.last_epoch, "step": save.last_step, METRIC: save.last_value}
    write_metrics(output / "metrics.json", metrics, model=name, epoch=save.best_epoch, step=save.best_step, last=last)
    print(
        f"\nthe best network, of epoch {save.best_epoch + 1} (step {save.best_step}), on {metrics['images']} images "
        f"held out: top-1 {100 * metrics[METRIC]:.1f}, top-5 {100 * metrics['top5']:.1f} percent",
        flush=True,
    )
