"""examples/ray_predict.py on a local Ray: what it writes, and that it goes on where it ended."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import refinedet

from .conftest import EXAMPLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
]


def run(weights: Path, output: Path, *images: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / "ray_predict.py", weights, output, *images]
    command += ["--actors=1", "--batch_size=1", "--part_size=3", "--score_threshold=0"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=800, env=environment)


def rows(output: Path) -> dict[str, dict]:
    from pyarrow import dataset

    found = [row for part in output.glob("part-*") for row in dataset.dataset(part).to_table().to_pylist()]
    assert len({row["path"] for row in found}) == len(found)
    return {Path(row["path"]).name: row for row in found}


def test_results_are_parquet_and_a_second_run_adds_what_is_missing(weights, photo, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        (photos / f"{i}.png").write_bytes(photo.read_bytes())
    (photos / "bad.png").write_bytes(b"no image")
    done = run(weights, tmp_path / "out", photos)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "4 images, 0 of them done already" in done.stdout
    found = rows(tmp_path / "out")
    assert sorted(found) == ["0.png", "1.png", "2.png", "bad.png"]
    expected = refinedet.Predictor.from_file(weights, batch_size=1)(photo, score_threshold=0.0)
    assert found["1.png"]["boxes"] == expected.boxes.tolist() and found["1.png"]["names"] == expected.names
    assert (found["1.png"]["width"], found["1.png"]["height"], found["1.png"]["error"]) == (64, 48, None)
    assert "not an image" in found["bad.png"]["error"] and found["bad.png"]["boxes"] is None

    (tmp_path / "out/.part-unfinished").mkdir()  # of a run that was killed
    (photos / "new.png").write_bytes(photo.read_bytes())
    done = run(weights, tmp_path / "out", photos)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 images, 4 of them done already" in done.stdout
    assert len(rows(tmp_path / "out")) == 5


def test_what_is_no_image_file_is_refused(weights, tmp_path):
    (tmp_path / "clip.avi").write_bytes(b"a video")
    done = run(weights, tmp_path / "out", tmp_path / "clip.avi")
    assert done.returncode == 2 and "expected files of images, got" in done.stderr
    assert not (tmp_path / "out").exists()
