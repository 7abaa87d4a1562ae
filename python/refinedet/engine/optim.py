"""Parameter groups and the learning rate over time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .config import OptimConfig


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, Any]]:
    """Weights in one group and biases in another, with the original's rates.

    Biases of convolutions learn at lr * bias_lr_factor, without weight decay unless decay_bias. Parameters that their
    module names in `no_weight_decay` learn at lr without it. Everything else, scales and shifts of norms included,
    learns at lr with weight decay.
    """
    norm_parameters = {
        id(p)
        for module in model.modules()
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm))
        for p in module.parameters(recurse=False)
    }
    free = {id(getattr(module, name)) for module in model.modules() for name in getattr(module, "no_weight_decay", ())}
    weights: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_bias = name.rsplit(".", 1)[-1] == "bias" and id(parameter) not in norm_parameters
        if id(parameter) in free:
            undecayed.append(parameter)
        else:
            (biases if is_bias else weights).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": config.lr, "weight_decay": config.weight_decay},
        {
            "params": biases,
            "lr": config.lr * config.bias_lr_factor,
            "weight_decay": config.weight_decay if config.decay_bias else 0.0,
        },
        {"params": undecayed, "lr": config.lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(model, config)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999))
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def lr_factor(iteration: int, config: OptimConfig, *, total: float, per_epoch: int, share: float = 0.0) -> float:
    """What the learning rate is multiplied by at an iteration (from 0) of `total`.

    per_epoch: iterations in an epoch, which milestones and warm-up in epochs are counted by. share: how much of the
    run's time is over; the schedule is as far as that where it is more than the iterations are. total may be infinite.
    The warm-up multiplies whatever the schedule says for that iteration.
    """
    factor = 1.0
    if config.schedule == "step":
        unit = per_epoch if config.unit == "epochs" else 1
        reached = max(iteration, share * total) if math.isfinite(total) else iteration
        passed = sum(reached >= milestone * unit for milestone in config.milestones)
        factor = math.prod(config.gammas[:passed])
    elif config.schedule == "cosine":
        done = min(1.0, max(iteration / max(1, total), share))
        factor = config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * done))
    warmup = config.warmup_iterations + config.warmup_epochs * per_epoch
    if iteration < warmup:
        part = iteration / warmup
        factor *= config.warmup_factor + (1 - config.warmup_factor) * part
    return factor


def build_schedule(
    optimizer: torch.optim.Optimizer,
    config: OptimConfig,
    *,
    total: float,
    per_epoch: int,
    share: Callable[[], float] = lambda: 0.0,
) -> LambdaLR:
    """Stepped once per iteration. share: tells how much of the run's time is over, see `lr_factor`."""
    return LambdaLR(optimizer, lambda i: lr_factor(i, config, total=total, per_epoch=per_epoch, share=share()))


def take_over(optimizer: torch.optim.Optimizer, schedule: LambdaLR, model: nn.Module, config: OptimConfig) -> None:
    """Give an optimizer whose state comes from a checkpoint the rates that the config says now."""
    fresh = build_optimizer(model, config).param_groups
    for group, new, factor in zip(optimizer.param_groups, fresh, schedule.lr_lambdas, strict=True):
        group.update({key: value for key, value in new.items() if key != "params"})
        group["initial_lr"] = new["lr"]
        group["lr"] = new["lr"] * factor(schedule.last_epoch)
    schedule.base_lrs = [new["lr"] for new in fresh]
