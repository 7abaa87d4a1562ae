"""Which model a run ends with, and what is said where parts of the data overlap."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from refinedet.cli import main
from refinedet.config_files import list_configs, load_config
from refinedet.engine import EvalConfig, RunConfig, SplitConfig
from refinedet.engine.overlaps import warn_of_overlaps
from refinedet.engine.splits import open_training
from refinedet.engine.train import train
from refinedet.evaluation import Evaluator
from refinedet.weights import load_model


def falling(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run whose first model is its best."""
    values = iter([0.5, 0.25, 0.125])
    compute = Evaluator.compute
    monkeypatch.setattr(Evaluator, "compute", lambda *args, **kw: {**compute(*args, **kw), "AP": next(values)})
    return replace(config, train=replace(config.train, epochs=2, loggers=[]))


def test_the_last_model_is_the_result_where_nothing_is_to_be_chosen(config, monkeypatch, capsys) -> None:
    run = replace(falling(config, monkeypatch), evaluation=EvalConfig(select="last"))
    result = train(run)
    assert result.best == result.last == result.output / "last.safetensors" and result.best_metric == 0.25
    assert not (result.output / "best.safetensors").exists()
    metrics = json.loads((result.output / "metrics.json").read_text())
    assert (metrics["selected"], metrics["AP"], metrics["epoch"]) == ("last", 0.25, 1)
    assert load_model(result.last).info["selected"] == "last"
    assert "the last model, as evaluation.select says, of epoch 2 (step 6)" in capsys.readouterr().out
    changed = replace(run, evaluation=EvalConfig(), train=replace(run.train, epochs=2, resume=str(result.output)))
    with pytest.raises(ValueError, match="evaluation.select: expected last, as the run that is resumed has it"):
        train(changed)
    monkeypatch.undo()
    arguments = ["eval", "--config", str(result.output / "config.yaml"), "--output", str(result.output / "eval")]
    assert main(arguments) == 0  # which finds the model that was selected
    assert json.loads((result.output / "eval/metrics.json").read_text())["weights"] == str(result.last)


def test_the_best_model_is_called_so(config, monkeypatch, capsys) -> None:
    result = train(falling(config, monkeypatch))
    metrics = json.loads((result.output / "metrics.json").read_text())
    assert (metrics["selected"], metrics["AP"], metrics["epoch"]) == ("best", 0.5, 0)
    assert load_model(result.best).info["selected"] == "best" and load_model(result.last).info["selected"] == "last"
    assert "the best model by AP, of epoch 1 (step 3)" in capsys.readouterr().out


def overlaps(config: RunConfig, select: str = "last", **parts: SplitConfig) -> int:
    config = replace(config, data=replace(config.data, **parts), evaluation=EvalConfig(select=select))  # type: ignore[arg-type]
    return warn_of_overlaps(config, *open_training(config.data))


def test_overlaps_are_named(config: RunConfig, rendered: Path, tmp_path: Path, caplog) -> None:
    train_part, test_part = config.data.train, config.data.val
    assert overlaps(config) == 0 and overlaps(config, test=test_part) == 0 and not caplog.text
    os.symlink(rendered, tmp_path / "link")
    linked = replace(
        train_part, image_dir=str(tmp_path / "link/train"), annotation_file=str(rendered / "annotations/train.json")
    )
    assert overlaps(config, val=linked) == 12
    assert "data.val: 12 of its 12 images are trained on (COCO " in caplog.text
    assert "choose the best model" not in caplog.text
    caplog.clear()
    overlaps(config, "best", val=train_part)
    assert "and they choose the best model (evaluation.select=last would not)" in caplog.text
    caplog.clear()
    overlaps(config, test=linked)
    assert "data.test: 12 of its 12 images are trained on" in caplog.text and "data.val" not in caplog.text
    caplog.clear()
    overlaps(config, "best", test=test_part)
    assert "data.test: 4 of its 4 images are in val, which chooses the model" in caplog.text
    caplog.clear()
    assert overlaps(config, test=replace(test_part, annotation_file="nowhere.json")) == 0 and not caplog.text


def test_the_table_says_that_it_measures_images_that_were_trained_on(config: RunConfig, capsys) -> None:
    data = replace(config.data, val=config.data.train)
    result = train(replace(config, data=data, train=replace(config.train, epochs=1, loggers=[])))
    assert "on the validation images, 12 of 12 of which it was trained on:" in capsys.readouterr().out
    assert json.loads((result.output / "metrics.json").read_text())["val_images_in_train"] == 12


PAPERS = [n for n in list_configs() if n.startswith("ablations/") or n.endswith(("_coco", "_coco_paper", "_plusplus"))]


@pytest.mark.parametrize("name", [*PAPERS, *(n for n in list_configs() if n.endswith(("_voc07", "_voc12")))])
def test_no_recipe_of_a_paper_chooses_by_the_images_it_measures(name: str) -> None:
    assert load_config(name)["evaluation"]["select"] == "last"


def test_voc12_is_measured_by_its_server() -> None:
    for name in (n for n in list_configs() if n.endswith("_voc12")):
        assert load_config(name)["data"]["test"] == {"split": "test"} and "padet" not in name
