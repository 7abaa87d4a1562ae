"""Prediction in another runtime: torch is neither loaded nor needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from .conftest import NAMES, needs

BLOCK = """
import sys
sys.modules.update(dict.fromkeys({names!r}))  # as if they were not installed
"""
NOT_NEEDED = (
    "torch",
    "torchvision",
    "lightning",
    "safetensors",
    "onnx",
    "onnxscript",
    "pycocotools",
    "matplotlib",
    "PIL",
)
PREDICT = """
import sys
from refinedet import Predictor
predictor = Predictor.from_file(sys.argv[1], runtime=sys.argv[2])
found = predictor(sys.argv[3], score_threshold=0.0)
assert len(found) == 20 and found.size == (64, 48), found
loaded = [name for name in {names!r} if sys.modules.get(name) is not None]
assert not loaded, loaded
"""
COMMAND = """
import sys
from refinedet.cli import main
status = main(sys.argv[1:])
loaded = [name for name in {names!r} if sys.modules.get(name) is not None]
assert not loaded, loaded
sys.exit(status)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=240
    )


@pytest.fixture
def photo(tmp_path, photos) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), photos[0][:48, :64])
    return path


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("file", ["onnx_file", "weights"])
def test_a_predictor(file, blocked, runtime, onnx_file, photo, request):
    needs(runtime)
    # a model file is converted already, as onnx_file is what it became
    path = request.getfixturevalue(file)
    code = (BLOCK if blocked else "").format(names=NOT_NEEDED) + PREDICT.format(names=NOT_NEEDED)
    done = python(code, path, runtime, photo)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "auto"])
def test_the_command(runtime, onnx_file, photo, tmp_path):
    needs("openvino" if runtime == "auto" else runtime)
    code = BLOCK.format(names=NOT_NEEDED) + COMMAND.format(names=NOT_NEEDED)
    out = tmp_path / "out"
    options = ["--weights", onnx_file, "--runtime", runtime, "--output", out, "--score_threshold=0", "--threads=1"]
    done = python(code, "predict", photo, *options)
    assert done.returncode == 0, done.stderr
    named = {"onnxruntime": ("ONNX Runtime",), "openvino": ("OpenVINO",), "auto": ("ONNX Runtime", "OpenVINO")}[runtime]
    assert done.stdout.startswith(tuple(f"runtime: {name} " for name in named))
    assert ("the fastest here: " in done.stdout) == (runtime == "auto")
    content = json.loads((out / "detections.json").read_text())
    assert content["class_names"] == NAMES and len(content["images"][0]["detections"]) == 20
    assert cv2.imread(str(out / "photo.png")).shape == (48, 64, 3)


def test_a_model_file_says_what_it_misses(weights, photo, tmp_path):
    code = BLOCK.format(names=NOT_NEEDED) + "from refinedet.cli import main\nsys.exit(main(sys.argv[1:]))"
    options = ["--weights", weights, "--output", tmp_path / "out"]
    done = python(code, "predict", photo, *options)
    assert done.returncode == 1 and "torch, which is not installed: pip install 'torch>=" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_model_file_that_is_not_converted_says_what_that_takes(weights, photo, tmp_path, monkeypatch):
    needs("onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    code = BLOCK.format(names=NOT_NEEDED) + "from refinedet.cli import main\nsys.exit(main(sys.argv[1:]))"
    options = ["--weights", weights, "--runtime", "onnxruntime", "--output", tmp_path / "out"]
    done = python(code, "predict", photo, *options)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "is to be converted to ONNX once, which needs torch, safetensors, onnx, onnxscript" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help():
    code = BLOCK.format(names=NOT_NEEDED) + "from refinedet.cli import main\nsys.exit(main(sys.argv[1:]))"
    for arguments in (["--help"], ["predict", "--help"]):
        done = python(code, *arguments)
        assert done.returncode == 0 and "usage: refinedet" in done.stdout, done.stderr
