from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import refinedet
from refinedet.cli.parser import parse
from refinedet.engine.config import OptimConfig, TrainConfig
from refinedet.engine.freeze import freeze, freeze_statistics
from refinedet.engine.module import DetectionModule
from refinedet.engine.start import build_model
from refinedet.engine.train import train


def model_of(name="refinedet192_small"):
    torch.manual_seed(0)
    return refinedet.create_model(name, 4, input_size=64, tcb_channels=16)


@pytest.mark.parametrize("schedule", [{"epochs": 2}, {"epochs": 3, "eval_every": 2, "accumulate": 2}])
def test_a_frozen_backbone_ends_as_it_began(config, tmp_path, schedule):
    """Parameters and statistics, with evaluations in between; everything else learns."""
    torch.manual_seed(0)
    names = ["disc", "square", "triangle", "star", "ring", "cross"]
    start = refinedet.create_model(config.model.name, len(names) + 1, **config.model.options)
    file = refinedet.save_model(start, tmp_path / "start.safetensors", class_names=names)
    settings = TrainConfig(**schedule, freeze="backbone", accelerator="cpu", devices=1)
    run = replace(config, model=replace(config.model, weights=str(file)), train=settings)
    before = build_model(run, refinedet.load_model(file).class_names).state_dict()
    after = refinedet.load_model(train(run).last).model.state_dict()
    frozen = {key for key in before if key.startswith("backbone.")}
    assert any("running_mean" in key for key in frozen) and any("num_batches" in key for key in frozen)
    for key in frozen:
        assert torch.equal(before[key], after[key]), key
    assert not torch.equal(before["tcb.blocks.0.smooth.weight"], after["tcb.blocks.0.smooth.weight"])
    assert any("running_mean" in key and not torch.equal(before[key], after[key]) for key in set(before) - frozen)


def test_without_freezing_the_statistics_move(config):
    result = train(replace(config, train=TrainConfig(epochs=1, accelerator="cpu", devices=1)))
    state = refinedet.load_model(result.last).model.state_dict()
    assert all(int(value) > 0 for key, value in state.items() if key.endswith("num_batches_tracked"))


def test_a_part_of_the_backbone(config):
    module = DetectionModule(model_of(), OptimConfig(), frozen=["backbone", "arm.loc.0"])
    learning = {name for name, p in module.model.named_parameters() if p.requires_grad}
    assert "arm.loc.1.weight" in learning and "arm.cls.0.weight" in learning
    assert not any(name.startswith(("backbone.", "arm.loc.0.")) for name in learning)
    module.eval()
    module.train()
    norms = [(n, m) for n, m in module.model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.training != name.startswith("backbone.") for name, m in norms)
    assert {m.training for _, m in norms} == {True, False}
    module.eval()
    assert not any(m.training for m in module.modules())


def test_a_name_is_a_whole_one():
    model = torch.nn.ModuleDict({"one": torch.nn.Linear(2, 2), "one_more": torch.nn.Linear(2, 2)})
    freeze(model, ["one"])
    assert not model["one"].weight.requires_grad and model["one_more"].weight.requires_grad


def test_synchronised_norms_are_found_by_name():
    model = model_of()
    freeze(model, ["backbone"])
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model).train()
    freeze_statistics(model, ["backbone"])
    norms = [m for m in model.backbone.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert norms and not any(m.training for m in norms)


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        (["backbon"], "train.freeze: the model has no module 'backbon'; it has, for example, backbone"),
        (["xyz"], "has no module 'xyz'; it has, for example, backbone, arm, tcb, odm$"),
        ([""], "has no module ''"),
        (["norms"], "train.freeze: norms has no parameters"),
        (["backbone", "arm", "tcb", "odm"], "train.freeze: backbone, arm, tcb, odm leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_said(prefixes, message):
    with pytest.raises(ValueError, match=message):
        DetectionModule(model_of(), OptimConfig(), frozen=prefixes)


@pytest.mark.parametrize(
    ("argument", "frozen"),
    [("--train.freeze=backbone", ["backbone"]), ("--train.freeze=[backbone,arm]", ["backbone", "arm"])],
)
def test_command_line_takes_one_or_several(argument, frozen):
    _, options = parse(["train", argument])
    assert options["train"].frozen == frozen and TrainConfig().frozen == []
