"""A learning rate from a short run with rising ones: `refinedet find_lr`, by Lightning's finder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lightning.pytorch.tuner import Tuner
from matplotlib.figure import Figure

from ..folders import check_folder, free_folder, make_folder
from .config import RunConfig
from .setup import set_up
from .start import with_model, with_precision
from .trainer import build_trainer, quiet


@dataclass(frozen=True)
class LearningRates:
    """rates, losses: of every step, the losses smoothed. suggested: where the loss falls steepest; None where no rate
    made it fall. plot: the picture of it."""

    rates: list[float]
    losses: list[float]
    suggested: float | None
    plot: Path


def find_lr(config: RunConfig, *, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100) -> LearningRates:
    """Try rising learning rates, from lowest to highest in so many steps, and end where the loss explodes.

    config: of the run that is to come; its rate, schedule and length have no part in this. Every parameter gets the
    same rate. Nothing is kept but `lr_finder.png` in config.output, a folder of its own by default.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"lowest, highest: expected 0 < lowest < highest, got {lowest} and {highest}")
    output = free_folder("runs/find_lr") if config.output is None else check_folder(config.output)
    plot = output / "lr_finder.png"
    if plot.exists():
        raise ValueError(f"output: {plot} exists; give another folder")
    settings = dataclasses.replace(config.train, epochs=None, iterations=steps, ema=None, max_minutes=None)
    config = with_model(with_precision(dataclasses.replace(config, train=settings)))
    with quiet():
        setup = set_up(config)
        make_folder(output)
        trainer = build_trainer(setup.config, output, callbacks=[], loggers=[], steps=steps)
        found = Tuner(trainer).lr_find(
            setup.module, datamodule=setup.data, min_lr=lowest, max_lr=highest, num_training=steps, update_attr=False
        )
    assert found is not None
    suggested = found.suggestion()
    cast(Figure, found.plot(suggest=suggested is not None)).savefig(plot)
    return LearningRates(found.results["lr"], found.results["loss"], suggested, plot)
