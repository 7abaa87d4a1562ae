"""A bench file under pytest-benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_bench_file(tmp_path):
    path = tmp_path / "times.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benchmarks/ops/matching/bench_filter_anchors.py",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--benchmark-enable", f"--benchmark-json={path}", "-k", "390 and float32 and mask and ours"]
    # as if it were no worker of pytest-xdist, where nothing is timed
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "python")])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    timed = json.loads(path.read_text())["benchmarks"]
    assert {one["group"] for one in timed} >= {
        "filter_anchors_mask, B=1, 6375 anchors, 390 kept, float32, forward, 1 threads"
    }
    assert all(one["name"].endswith("ours]") and one["stats"]["median"] > 0 for one in timed)
