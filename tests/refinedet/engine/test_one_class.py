"""Fine-tuning to a data set of one class, by one command, as its user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from refinedet.data.synthetic import render_dataset
from refinedet.predictor import Predictor
from refinedet.weights import load_model

SCENE = {"size": 128, "object_size": (32, 80), "clutter": 0.3, "noise": 2.0, "empty": 0.0, "objects": (1, 2)}


def refinedet(*arguments: str) -> str:
    command = [sys.executable, "-m", "refinedet.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_command_fine_tunes_to_one_class(tmp_path: Path) -> None:
    """Classes of before are dropped and the new one learned, in a fraction of the steps that the first model took."""
    render_dataset(tmp_path / "shapes", train=96, test=8, seed=1, classes=("square", "triangle", "star"), **SCENE)
    render_dataset(tmp_path / "discs", train=32, test=24, seed=2, classes=("disc",), **SCENE)
    options = '{"input_size": 128, "tcb_channels": 64}'
    refinedet(
        *("train", "--data.root", str(tmp_path / "shapes"), "--output", str(tmp_path / "first"), "--data.workers", "0"),
        *("--model.name", "refinedet192_small", "--model.options", options, "--train.epochs", "20"),
        *("--train.eval-every", "20", "--optim.lr", "0.002", "--train.ema", "0.95"),
    )
    length = ("--train.epochs", "24", "--train.eval_every", "24", "--data.batch_size", "8", "--data.workers", "0")
    data = ("--data.root", str(tmp_path / "discs"), "--train.ema", "0.9", "--optim.warmup_iterations", "5")
    said = refinedet(
        *("train", *data, *length, "--model.weights", str(tmp_path / "first/best.safetensors")),
        *("--output", str(tmp_path / "tuned")),
    )
    scratch = ("--model.name", "refinedet192_small", "--model.options", options)
    refinedet("train", *data, *length, *scratch, "--output", str(tmp_path / "scratch"))
    assert "disc" in said
    tuned, alone = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("tuned", "scratch"))
    assert list(tuned["per_class"]) == ["disc"]
    assert tuned["AP50"] > max(0.5, alone["AP50"] + 0.15), (tuned["AP50"], alone["AP50"])
    assert load_model(tmp_path / "tuned/best.safetensors").class_names == ["disc"]
    picture = next((tmp_path / "discs/test").glob("*.jpg"))
    found = Predictor.from_file(tmp_path / "tuned/best.safetensors")(picture, score_threshold=0.3)
    assert set(found.names) <= {"disc"}
