"""The command line."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks.gpu import catalog, check
from benchmarks.gpu.feature_cases import deform_cases
from benchmarks.gpu.prepared import Prepared


def main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["check", *map(str, arguments)])
    return check.main()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--minutes", "0.5"), "--minutes: expected at least 1, got 0.5"),
        (("--minutes", "nan"), "--minutes: expected at least 1, got nan"),
        (("--prebuilt", "nowhere"), "--prebuilt: there is no nowhere"),
        (("--prepared", "nowhere.pt"), "--prepared: there is no nowhere.pt"),
        (("--prepared", __file__), "expected a file of `python -m benchmarks.gpu.check --prepare`"),
        (("--prepare", "a.pt", "--rehearse"), "not allowed with argument"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_run(monkeypatch, capsys, arguments, error):
    with pytest.raises(SystemExit) as end:
        main(monkeypatch, *arguments)
    assert end.value.code == 2 and error in capsys.readouterr().err


def test_without_a_gpu(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(monkeypatch, "--out", tmp_path / "out") == 2
    assert "no GPU that this torch can use" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_expected_results_are_prepared(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(catalog, "all_cases", lambda device: deform_cases(device, True))
    assert main(monkeypatch, "--prepare", tmp_path / "prepared.pt") == 0
    assert "4 expected results" in capsys.readouterr().out
    assert len(Prepared.load(tmp_path / "prepared.pt").entries) == 4
