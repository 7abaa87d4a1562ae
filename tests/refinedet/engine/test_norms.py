"""How long batch norms remember in a run, by `train.norm_momentum`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import refinedet
from refinedet.cli.parser import parse
from refinedet.engine.config import ModelConfig, TrainConfig
from refinedet.engine.setup import set_up
from refinedet.engine.train import train

LITE0 = ModelConfig("refinedetlite320_efficientnet_lite0", {"input_size": 64})


def momenta(setup):
    return {m.momentum for m in setup.model.modules() if isinstance(m, torch.nn.BatchNorm2d)}


def with_momentum(config, model, value):
    settings = TrainConfig(epochs=1, accelerator="cpu", devices=1, norm_momentum=value)
    return replace(config, model=model, train=settings)


@pytest.mark.parametrize(
    ("value", "expected", "settled"), [(None, {0.01, 0.1}, None), ("auto", {0.1}, 0.1), (0.25, {0.25}, 0.25)]
)
def test_of_random_weights(config, value, expected, settled):
    setup = set_up(with_momentum(config, LITE0, value))
    assert momenta(setup) == expected
    assert setup.config.train.norm_momentum == settled  # as config.yaml has it


def test_auto_leaves_pretrained_networks(config, tmp_path):
    names = ["disc", "square", "triangle", "star", "ring", "cross"]
    start = refinedet.create_model(LITE0.name, len(names) + 1, **LITE0.options)
    file = refinedet.save_model(start, tmp_path / "start.safetensors", class_names=names)
    setup = set_up(with_momentum(config, ModelConfig(weights=str(file)), "auto"))
    assert momenta(setup) == {0.01, 0.1} and setup.config.train.norm_momentum is None


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_the_recipes_for_ones_own_images_have_it(command):
    _, options = parse([command, "--data.root", "x"])
    assert options["train"].norm_momentum == "auto"


@pytest.mark.parametrize(("weights", "expected"), [(False, {0.1}), (True, {0.01, 0.1})])
def test_a_run_that_goes_on_keeps_it(config, tmp_path, monkeypatch, caplog, weights, expected):
    """Though the one that goes on is given no weights: what the run began with decides, and nothing has changed."""
    model = LITE0
    if weights:
        trunk = refinedet.create_model(LITE0.name, 7, **LITE0.options).backbone.state_dict()
        torch.save(trunk, tmp_path / "trunk.pt")
        model = replace(LITE0, backbone_weights=str(tmp_path / "trunk.pt"))
    result = train(with_momentum(config, model, "auto"))
    begun = []
    monkeypatch.setattr("refinedet.engine.train.set_up", lambda *a, **k: begun.append(set_up(*a, **k)) or begun[0])
    again = with_momentum(config, LITE0, "auto")
    train(replace(again, output=None, train=replace(again.train, resume=str(result.last.parent))))
    assert momenta(begun[0]) == expected and "norm_momentum" not in caplog.text


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5, float("nan"), True, "none"])
def test_bad_values(value):
    with pytest.raises(ValueError, match=r"train.norm_momentum: expected a number above 0 and up to 1"):
        TrainConfig(norm_momentum=value)
