"""examples/numpy_nms.py: its detections are the torch face's, and torch is not loaded for them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import refinedet_ext as rx

from .conftest import EXAMPLES

SCRIPT = str(EXAMPLES / "numpy_nms.py")


def run(*arguments: object) -> str:
    done = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_made_up_outputs():
    printed = run()
    total = re.search(r"^(\d+) detections of 8,732 anchors in [\d.]+ ms$", printed, re.M)
    assert total is not None and 12 <= int(total[1]) < 200
    assert printed.count("image 0") == 10
    assert run("--show=1000").count("image 0") == int(total[1])


def test_a_file_as_on_torch_tensors(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    anchors = torch.rand(50, 2, generator=generator).repeat(1, 2) * 90 + torch.tensor([0.0, 0.0, 20.0, 20.0])
    deltas, scores = torch.randn(2, 50, 4, generator=generator), torch.rand(2, 50, 3, generator=generator)
    arrays = {"anchors": anchors.numpy(), "deltas": deltas.numpy(), "scores": scores.numpy()}
    np.savez(tmp_path / "outputs.npz", **arrays)
    printed = run(tmp_path / "outputs.npz", "--method=linear", "--score_threshold=0.5", "--show=1000")
    found = rx.multiclass_nms(
        rx.decode_boxes(deltas, anchors), scores, score_threshold=0.5, min_score=0.5, method="linear"
    )
    shown = re.findall(r"^image (\d)  class +(\d+)  score ([\d.]+)", printed, re.M)
    expected = [
        (str(image), str(int(label)), f"{float(score):.3f}")
        for image, count in enumerate(found.count)
        for label, score in zip(found.labels[image, :count], found.scores[image, :count], strict=True)
    ]
    assert shown == expected


def test_without_torch():
    code = f"import runpy, sys; sys.argv = ['x']; runpy.run_path({SCRIPT!r}, run_name='__main__')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
