from __future__ import annotations

import pytest
import torch
from torch import nn

from refinedet.engine import OptimConfig
from refinedet.engine.optim import build_optimizer, lr_factor, parameter_groups
from refinedet.losses import TaskBalance


def factors(config, total=100, per_epoch=10):
    return [lr_factor(i, config, total=total, per_epoch=per_epoch) for i in range(total)]


def test_step_schedule_is_the_originals():
    config = OptimConfig(milestones=[80, 90])
    got = factors(config)
    assert got[:80] == [1.0] * 80
    assert got[80:90] == pytest.approx([0.1] * 10)
    assert got[90:] == pytest.approx([0.01] * 10)


def test_milestones_in_epochs():
    config = OptimConfig(milestones=[3, 5], unit="epochs")
    got = factors(config)
    assert got[29] == 1.0 and got[30] == pytest.approx(0.1) and got[50] == pytest.approx(0.01)


def test_cosine_falls_to_the_final_factor():
    config = OptimConfig(schedule="cosine", final_factor=0.1)
    got = factors(config)
    assert got[0] == 1.0 and got[50] == pytest.approx(0.55) and got[-1] == pytest.approx(0.1, abs=1e-3)
    assert all(a >= b for a, b in zip(got, got[1:], strict=False))


def test_warmup_rises_linearly_and_multiplies_the_schedule():
    config = OptimConfig(schedule="constant", warmup_iterations=10, warmup_factor=0.1)
    got = factors(config)
    assert got[0] == pytest.approx(0.1) and got[5] == pytest.approx(0.55) and got[10:] == [1.0] * 90
    late = OptimConfig(milestones=[5], warmup_iterations=10, warmup_factor=0.1)
    assert factors(late)[5] == pytest.approx(0.55 * 0.1)


def test_groups_double_bias_rate_and_spare_biases_the_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    weights, biases = parameter_groups(model, OptimConfig(lr=0.1, weight_decay=0.01))
    assert {id(p) for p in biases["params"]} == {id(model[0].bias), id(model[2].bias)}
    assert biases["lr"] == pytest.approx(0.2) and biases["weight_decay"] == 0.0
    assert {id(p) for p in weights["params"]} == {
        id(p) for p in (model[0].weight, *model[1].parameters(), model[2].weight)
    }
    assert weights["lr"] == 0.1 and weights["weight_decay"] == 0.01


def test_groups_leave_frozen_parameters_out():
    model = nn.Conv2d(3, 4, 3)
    model.bias.requires_grad_(False)
    (group,) = parameter_groups(model, OptimConfig())
    assert [id(p) for p in group["params"]] == [id(model.weight)]


def test_parameters_that_their_module_excepts_do_not_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), TaskBalance())
    weights, _, free = parameter_groups(model, OptimConfig(lr=0.1, weight_decay=0.01))
    assert [id(p) for p in weights["params"]] == [id(model[0].weight)]
    assert [id(p) for p in free["params"]] == [id(model[1].log_variance)]
    assert free["lr"] == 0.1 and free["weight_decay"] == 0.0


def test_optimizers_by_name():
    model = nn.Conv2d(3, 4, 3)
    assert isinstance(build_optimizer(model, OptimConfig()), torch.optim.SGD)
    assert isinstance(build_optimizer(model, OptimConfig(optimizer="adamw")), torch.optim.AdamW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, r"optim.optimizer: expected one of \['sgd', 'adamw'\], got 'lion'"),
        ({"lr": 0.0}, "optim.lr: expected a positive number, got 0.0"),
        ({"lr": float("nan")}, "optim.lr: expected a positive number"),
        ({"momentum": 1.5}, "optim.momentum"),
        ({"milestones": [5, 3]}, r"optim.milestones: expected rising numbers, got \[5, 3\]"),
        ({"warmup_iterations": -1}, "optim.warmup_iterations"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        OptimConfig(**options)


def test_a_factor_of_its_own_for_every_milestone():
    config = OptimConfig(milestones=[3, 5, 7], gamma=[0.5, 0.2, 0.1], unit="epochs")
    got = factors(config)
    assert [got[i] for i in (29, 30, 50, 70, 99)] == pytest.approx([1.0, 0.5, 0.1, 0.01, 0.01])


def test_warmup_in_epochs():
    config = OptimConfig(schedule="constant", warmup_epochs=2, warmup_factor=0.1)
    got = factors(config)
    assert got[0] == pytest.approx(0.1) and got[10] == pytest.approx(0.55) and got[20:] == [1.0] * 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": [0.1]}, r"optim.gamma: expected one for each of 2 milestones, got \[0.1\]"),
        ({"gamma": [0.1, 2.0]}, "optim.gamma: expected a number from 0 to 1.0, got 2.0"),
        ({"gamma": -0.1}, "optim.gamma: expected a number from 0 to 1.0, got -0.1"),
        ({"warmup_epochs": 1, "warmup_iterations": 5}, "warmup_iterations, optim.warmup_epochs: expected one of them"),
        ({"warmup_epochs": -1}, "optim.warmup_epochs: expected an integer of at least 0, got -1"),
    ],
)
def test_wrong_schedules_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        OptimConfig(**options)
