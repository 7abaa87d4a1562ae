"""The demo: what it leaves, how it goes on, and what it leaves alone."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

from refinedet import commands
from refinedet.engine.demo import DEFAULTS, demo
from refinedet.engine.evaluate import RESULTS

SMALL = {"train_pictures": 16, "test_pictures": 3, "epochs": 2}
OPTIONS = [f"--{name}={value}" for name, value in SMALL.items()]


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "refinedet.cli", "demo", f"--output={folder}", *OPTIONS]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_interrupted_demo_goes_on_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    process = start(folder)
    checkpoint = folder / "run/checkpoints/last.ckpt"
    end = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"to go on: refinedet demo --output {folder} --train_pictures 16" in errors
    data = {file: file.stat().st_mtime_ns for file in (folder / "data").rglob("*.jpg")}
    assert len(data) == 19

    process = start(folder)
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert "going on with" in output and "held-out images:" in output
    assert data == {file: file.stat().st_mtime_ns for file in data}
    for name in (*RESULTS, "pictures/sheet.png", "run/curves.png", "run/last.safetensors"):
        assert (folder / name).stat().st_size, name
    assert cv2.imread(str(folder / "pictures/sheet.png")) is not None
    assert f"--weights {folder}/run/last.safetensors" in output
    assert json.loads((folder / "metrics.json").read_text())["images"] == 3

    with pytest.raises(ValueError, match="output: expected an empty folder, or that of an interrupted demo"):
        demo(folder, **SMALL)


def test_killed_while_rendering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **options):
        (args[0] / "train").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("refinedet.engine.demo.render_dataset", fail)
        demo(tmp_path / "a", **SMALL)
    assert (tmp_path / "a/data.part/train").exists() and not (tmp_path / "a/data").exists()
    with pytest.raises(ValueError, match="with the same arguments"):
        demo(tmp_path / "a", train_pictures=16, test_pictures=3, epochs=3)
    assert demo(tmp_path / "a", **{**SMALL, "epochs": 2})["per_class"]


def test_nothing_of_somebody_else_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/demo/data").mkdir(parents=True)
    (tmp_path / "runs/demo/data/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"output: .*runs/demo is\s*neither"):
        demo("runs/demo", **SMALL)
    monkeypatch.setattr("refinedet.engine.demo.render_dataset", lambda *args, **options: os.abort)
    with pytest.raises(FileNotFoundError):
        demo(**SMALL)
    assert (tmp_path / "runs/demo-2/demo.json").exists()
    assert [file.name for file in (tmp_path / "runs/demo").rglob("*")] == ["data", "mine.txt"]


def test_the_command_has_the_same_defaults() -> None:
    told = inspect.signature(commands.demo).parameters
    assert {name: told[name].default for name in DEFAULTS} == DEFAULTS
