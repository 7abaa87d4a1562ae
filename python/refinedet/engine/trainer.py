"""Lightning's Trainer as a run's configuration asks for it."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from .config import TrainConfig
from .processes import find_processes

_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def build_trainer(
    settings: TrainConfig, output: Path, *, callbacks: Sequence[pl.Callback], loggers: Sequence[Logger], steps: int
) -> pl.Trainer:
    """callbacks, loggers: all of them. steps: batches of an epoch."""
    assert settings.epochs != "auto"  # `with_length` has settled it
    processes = find_processes(settings)
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=processes.per_node,
        num_nodes=processes.nodes,
        strategy="auto" if processes.total == 1 else "ddp",
        precision=_PRECISION[settings.precision],  # type: ignore[arg-type]
        max_steps=-1 if settings.iterations is None else settings.iterations,
        max_epochs=-1 if settings.epochs is None else settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        sync_batchnorm=settings.sync_batchnorm,
        deterministic=settings.deterministic or None,
        check_val_every_n_epoch=settings.eval_every,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=min(10, max(1, steps)),
        logger=list(loggers),
        callbacks=[*callbacks, LearningRateMonitor("step")],
        enable_checkpointing=any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=output,
    )


def build_loggers(names: Sequence[str], output: Path) -> list[Logger]:
    """A CSV file, which the curves are drawn from, and the loggers of these names; all write into `output`.

    ModuleNotFoundError says which package a logger lacks.
    """
    version = len(list(output.glob("logs/version_*")))
    loggers: list[Logger] = [CSVLogger(output, name="logs", version=version)]
    for name in names:
        package = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}[name]
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"train.loggers: {name} needs the package {package}: pip install {package}")
        if name == "tensorboard":
            loggers.append(TensorBoardLogger(output, name="logs", version=version))
        elif name == "wandb":
            loggers.append(WandbLogger(name=output.name, save_dir=output, project="refinedet"))
        else:
            loggers.append(
                MLFlowLogger(experiment_name="refinedet", run_name=output.name, save_dir=str(output / "mlruns"))
            )
    return loggers


@contextmanager
def quiet() -> Iterator[None]:
    """Leaves out Lightning's advertisements, and its warnings about what is meant as it is here."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*does not have many workers.*",
                ".*The number of training batches.*",
                ".*Checkpoint directory .* exists and is not empty.*",
                ".*isinstance.treespec, LeafSpec.*",
                ".*your dataloader is not resumable.*",  # it is, in its own way: see EpochLoader
                ".*ended before the epoch ended.*",
                ".*It is recommended to use .self.log.*sync_dist=True.*",  # all processes compute the same metrics
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        log.setLevel(level)
