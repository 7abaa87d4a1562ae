"""examples/train_from_python.py, shortened: it trains, measures and draws."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from .conftest import EXAMPLES


@pytest.mark.slow
def test_trains_measures_and_draws(tmp_path):
    command = [sys.executable, str(EXAMPLES / "train_from_python.py"), f"--output={tmp_path / 'out'}"]
    done = subprocess.run([*command, "--epochs=1", "--images=16"], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"^AP [\d.]+, AP50 [\d.]+ on the test images; the model: .*\.safetensors$", done.stdout, re.M)
    assert len(list((tmp_path / "out/drawn").iterdir())) == 4
    assert (tmp_path / "out/eval/metrics.json").is_file()
