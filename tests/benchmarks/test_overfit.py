"""The check of the detectors on a few photographs runs through the engine, and says what it found."""

from __future__ import annotations

import json

import pytest

import refinedet
from benchmarks import overfit

from ..refinedet.data.makers import BCCD, needs_bccd


@needs_bccd
def test_few_photographs_and_a_failing_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(overfit, "MODELS", {"refinedet192_small": {}})
    monkeypatch.setattr(overfit, "IMAGES", 3)
    arguments = ["--data", str(BCCD), "--iterations", "2", "--output", str(tmp_path)]
    assert overfit.main(arguments) == 1  # two steps are too few
    rows = json.loads((tmp_path / "overfit.json").read_text())
    assert rows["refinedet192_small"]["AP50"] < overfit.WANTED_AP50
    assert "`refinedet192_small`" in capsys.readouterr().out
    listed = (tmp_path / "data/ImageSets/Main/few.txt").read_text().split()
    assert listed == (BCCD / "ImageSets/Main/train.txt").read_text().split()[:3]


@pytest.mark.parametrize("name", overfit.MODELS)
def test_every_model_can_be_built(name):
    refinedet.create_model(name, 4, **overfit.MODELS[name])
