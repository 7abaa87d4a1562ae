"""Training and evaluation from Python: the same options, defaults and checks as the command line's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import refinedet
from refinedet.api import run_config
from refinedet.cli import main
from refinedet.cli.parser import resolve_run
from refinedet.config_files import load_config
from refinedet.data.synthetic import render_dataset
from refinedet.engine import DataConfig, RunConfig, TrainConfig

TINY = {"name": "refinedet192_small", "options": {"input_size": 64, "tcb_channels": 16}}
PARTS = {
    part: {"image_dir": folder, "annotation_file": f"annotations/{folder}.json"}
    for part, folder in (("train", "train"), ("val", "test"))
}
DATA = {**PARTS, "batch_size": 4, "workers": 0}
SHORT = {"iterations": 2, "accelerator": "cpu", "devices": 1}


def error(capsys) -> str:
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rendered")
    render_dataset(root, train=8, test=4, size=96, seed=1)
    return root


def test_train_and_evaluate_in_a_few_lines(rendered, tmp_path, capsys):
    result = refinedet.train(rendered, model=TINY, data=DATA, train=SHORT, output=tmp_path / "run")
    assert result.output == tmp_path / "run" and result.best.is_file() and 0 <= result.metrics["AP"] <= 1
    metrics = refinedet.evaluate(result.best, rendered, data=DATA, output=tmp_path / "eval")
    assert 0 <= metrics["AP"] <= 1 and (tmp_path / "eval" / "metrics.json").is_file()
    assert refinedet.Predictor.from_file(result.best).class_names[0] == "disc"
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert written["data"]["root"] == str(rendered) and written["optim"]["lr"] == load_config("own_data")["optim"]["lr"]


def test_the_configuration_of_a_run_is_enough_to_measure_it(rendered, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    refinedet.train(rendered, model=TINY, data=DATA, train=SHORT, evaluation={"kind": "voc12"}, output=run)
    arguments = ["--config", str(run / "config.yaml")]
    monkeypatch.chdir(tmp_path)  # results go to runs/eval, runs/eval-2 and so on
    assert main(["eval", *arguments]) == 0
    assert "mAP" in capsys.readouterr().out
    assert main(["eval", *arguments, "--kind", "coco", "--data.batch-size=2"]) == 0
    assert "AP75" in capsys.readouterr().out
    (run / "best.safetensors").rename(tmp_path / "other.safetensors")
    assert main(["eval", *arguments]) == 2
    assert f"--weights: expected a model file, as there is no best.safetensors of the run {run}" in error(capsys)
    assert main(["eval", *arguments, "--weights", str(tmp_path / "other.safetensors")]) == 0
    capsys.readouterr()
    assert main(["eval", *arguments, "--weights", str(tmp_path / "other.safetensors"), "--data.classes=[a]"]) == 1
    assert "data.classes: expected nothing, or ['disc', " in error(capsys)


def test_python_and_the_command_line_mean_the_same(rendered, capsys):
    with pytest.raises(SystemExit):
        main(
            [
                *("train", "--config", "refinedet320_vgg16_voc07", "--data.root", str(rendered)),
                *("--model.name", "refinedet320_small", "--train.epochs", "3", "--optim.milestones", "[1,2]"),
                *("--data.augment.contrast", "[0.5, 1.2]", "--optim.unit", "epochs", "--print_config"),
            ]
        )
    printed = yaml.safe_load(capsys.readouterr().out)
    config = run_config(
        "refinedet320_vgg16_voc07",
        {
            "data": {"root": rendered, "augment": {"contrast": [0.5, 1.2]}},
            "model": {"name": "refinedet320_small"},
            "train": {"epochs": 3},
            "optim": {"milestones": [1, 2], "unit": "epochs"},
        },
    )
    assert config == resolve_run(printed)


def test_a_configuration_may_be_changed():
    config = RunConfig(data=DataConfig(batch_size=3), train=TrainConfig(epochs=5))
    assert run_config(config, {}) is config
    changed = run_config(config, {"train": {"iterations": 7}, "optim": {"lr": 0.5}})
    assert (changed.train.iterations, changed.train.epochs) == (7, None)
    assert changed.data == config.data and changed.optim.lr == 0.5 and config.train.epochs == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": {"epoks": 3}}, "train.epoks: no such option, in the options; did you mean train.epochs?"),
        ({"optim": {"lr": "much"}}, "optim.lr: expected a number, got much"),
        ({"train": {"epochs": 0}}, "train.epochs: expected an integer of at least 1, got 0"),
        ({"data": {"workers": np.array([1])}}, "data.workers: expected an integer, got [1]"),
        ({"train": {"epochs": 1, "iterations": 1}}, "train.iterations, train.epochs: expected"),
        ({"model": 3}, "model: expected keys and values in the options, got 3"),
        ({"config": "nothing"}, "config: no file nothing"),
        ({"data": {"root": "a"}}, "root, data: expected data.root once, got cells and a"),
    ],
)
def test_what_is_wrong_is_named(options, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        refinedet.train("cells", output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_sequences_may_be_tuples():
    config = run_config(None, {"optim": {"milestones": (1, 2)}, "data": {"classes": ("a", "b")}})
    assert config.optim.milestones == [1, 2] and config.data.classes == ["a", "b"]


def test_evaluate_takes_one_root(tmp_path):
    for data in ({"root": "a"}, DataConfig(root="a")):
        with pytest.raises(ValueError, match="root, data: expected data.root once, got both"):
            refinedet.evaluate(tmp_path / "m.safetensors", "b", data=data)
