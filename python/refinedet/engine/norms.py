"""How long the running statistics of batch norms remember."""

from __future__ import annotations

import dataclasses

from torch import nn

from .config import TrainConfig

FROM_SCRATCH = 0.1
"""What "auto" stands for where a run begins with random weights: torch's own default."""


def with_norm_momentum(settings: TrainConfig, *, random_weights: bool) -> TrainConfig:
    """The settings with what "auto" stands for in this run. random_weights: whether it begins with those."""
    if settings.norm_momentum != "auto":
        return settings
    return dataclasses.replace(settings, norm_momentum=FROM_SCRATCH if random_weights else None)


def set_norm_momentum(model: nn.Module, momentum: float | str | None) -> None:
    """Gives all batch norms that momentum; None leaves them as they are."""
    assert momentum != "auto"  # `with_norm_momentum` has settled it
    if momentum is None:
        return
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = float(momentum)
