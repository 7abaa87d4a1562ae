import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.study.command import add_result
from benchmarks.study.runs import METRICS, ROOT, Run, known_result, perform, same_training
from refinedet.data.synthetic import render_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return render_dataset(folder / "data", train=8, test=4, size=96, object_size=(12, 40)).root


def run_of(data: Path, **train: object) -> Run:
    parts = {name: {"image_dir": name, "annotation_file": f"annotations/{name}.json"} for name in ("train", "test")}
    config = {
        "model": {"name": "refinedet256_small", "options": {"input_size": 64}},
        "data": {
            "format": "coco", "root": str(data), "train": parts["train"], "val": parts["test"],
            "batch_size": 2, "workers": 0,
        },
        "optim": {"optimizer": "adamw", "schedule": "cosine"},
        "train": {"iterations": 12, "eval_every": 1000, "loggers": [], **train},
        "evaluation": {"kind": "coco", "select": "last"},
    }  # fmt: skip
    return Run("shapes", "small", 0, config, ("coco",))


def test_a_run_is_done_once_and_known_by_what_it_trains(data, tmp_path, capsys):
    run, heard = run_of(data), []
    assert perform([run], tmp_path, jobs=1, minutes=None, done=lambda *found: heard.append(found)) == []
    [(same, result)] = heard
    assert same is run and set(result["metrics"]) == {"", "coco"} and set(result["metrics"][""]) == set(METRICS)
    assert result["step_seconds"] > 0
    assert not (tmp_path / run.place / "run").exists()  # weights and checkpoints
    assert "shapes/small/seed0  AP" in capsys.readouterr().out

    assert known_result(run, tmp_path) == result
    perform([run], tmp_path, jobs=1, minutes=None, done=lambda *_: pytest.fail("trained again"))
    longer = run_of(data, iterations=13)
    assert known_result(longer, tmp_path) is None
    perform([longer], tmp_path, jobs=1, minutes=0, done=lambda *_: pytest.fail("begun after the time"))

    table = tmp_path / "results.json"
    add_result(table, run, result)
    add_result(table, replace(run, seed=1), result)
    add_result(table, run, {**result, "step_seconds": 0.25})
    entries = json.loads(table.read_text())["runs"]
    assert [(e["row"], e["seed"], e["step_ms"]) for e in entries] == [
        ("small", 0, 250.0),
        ("small", 1, round(1000 * result["step_seconds"], 1)),
    ]
    assert entries[0]["metrics"][""]["AP"] == round(100 * result["metrics"][""]["AP"], 2)


def test_an_option_that_is_new_since_makes_no_other_training(data: Path) -> None:
    now = run_of(data).as_json()
    before = json.loads(json.dumps(now))
    del before["defaults"]["loss"]["box_loss_weight"]
    assert same_training(before, now) and not same_training(now, before)
    before["defaults"]["loss"]["matching"] = "argmax"
    assert not same_training(before, now)
    assert not same_training({**now, "suppressions": []}, now)


def test_a_run_that_fails_is_named_and_does_not_stop_the_others(data, tmp_path, capsys):
    bad, good, heard = replace(run_of(data, iterations=1), row="bad"), run_of(data, iterations=1), []
    bad = replace(bad, config={**bad.config, "model": {"name": "refinedet256_small", "options": {"no_such": 1}}})
    assert perform([bad, good], tmp_path, jobs=1, minutes=None, done=lambda run, _: heard.append(run)) == [bad]
    assert heard == [good]
    assert "shapes/bad/seed0  FAILED: " in capsys.readouterr().out
    assert "no_such" in (tmp_path / bad.place / "log.txt").read_text()


SCRIPT = """
import sys
from pathlib import Path
from benchmarks.study.runs import perform
from tests.benchmarks.study.test_runs import run_of
run = run_of(Path(sys.argv[1]), iterations=150, save_minutes=0.0001)
perform([run], Path(sys.argv[2]), jobs=2, minutes=None, done=lambda *_: None)
"""


@pytest.mark.slow
def test_an_interrupted_run_goes_on(data, tmp_path):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "python")])
    command = [sys.executable, "-c", SCRIPT, str(data), str(tmp_path)]
    study = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / run_of(data).place / "run/checkpoints/last.ckpt"
    limit = time.monotonic() + 120
    while not checkpoint.exists():
        assert study.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    study.send_signal(signal.SIGTERM)
    _, error = study.communicate(timeout=60)
    assert study.returncode != 0 and "KeyboardInterrupt" in error
    run = run_of(data, iterations=150, save_minutes=0.0001)
    assert checkpoint.exists() and known_result(run, tmp_path) is None
    heard = []
    assert perform([run], tmp_path, jobs=1, minutes=None, done=lambda *found: heard.append(found)) == []
    assert len(heard) == 1 and "going on with" in (tmp_path / run.place / "log.txt").read_text()
