"""A learning rate from a short run with rising ones: `refinedet find_lr`, by Lightning's finder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch.tuner import Tuner

from ..figures import INK, clean, new_figure
from ..folders import check_folder, free_folder, make_folder
from .checks import check_run
from .config import RunConfig
from .setup import set_up
from .start import with_model, with_precision
from .trainer import build_trainer, quiet

SETTLED = 10
"""Steps after which the smoothed loss means something."""


@dataclass(frozen=True)
class LearningRates:
    """rates, losses: of every step but the first ten and the last, the losses smoothed. suggested: where the loss falls
    steepest; None where no rate made it fall. plot: the picture of it."""

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
    check_run(config)
    output = free_folder("runs/find_lr") if config.output is None else check_folder(config.output)
    plot = output / "lr_finder.png"
    if plot.exists():
        raise ValueError(f"output: {plot} exists; give another folder")
    settings = dataclasses.replace(config.train, epochs=None, iterations=steps, ema=None, max_minutes=None)
    config = with_model(with_precision(dataclasses.replace(config, train=settings)))
    with quiet():
        setup = set_up(config)
        make_folder(output)
        trainer = build_trainer(setup.config.train, output, callbacks=[], loggers=[], steps=steps)
        found = Tuner(trainer).lr_find(
            setup.module, datamodule=setup.data, min_lr=lowest, max_lr=highest, num_training=steps, update_attr=False
        )
    assert found is not None
    # the finder's mean begins with too few losses to say anything
    rates, losses = (found.results[name][SETTLED:-1] for name in ("lr", "loss"))
    suggested = steepest(rates, losses)
    _draw(rates, losses, suggested, plot)
    return LearningRates(rates, losses, suggested, plot)


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the loss falls most for a growth of the rate by a factor; None where it never falls.

    Lightning's own suggestion is where it falls most for a growth by an amount, which is mostly among the lowest.
    """
    if len(rates) < 2:
        return None
    slope = np.gradient(np.asarray(losses), np.log(rates))
    place = int(np.argmin(slope))
    return float(rates[place]) if slope[place] < 0 else None


def _draw(rates: Sequence[float], losses: Sequence[float], suggested: float | None, path: Path) -> None:
    figure = new_figure(8.0, 4.5)
    axes = figure.add_subplot()
    axes.plot(rates, losses, color="#3366aa", linewidth=1.6)
    if suggested is not None:
        axes.axvline(suggested, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(f"the loss falls steepest at a rate of {suggested:.2g}", loc="left", color=INK)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    clean(axes)
    figure.savefig(path, facecolor="white")
