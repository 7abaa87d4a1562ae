"""Every command of docs/export.md, as it stands there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.data.shapes import SHAPE_CLASSES
from refinedet.data.synthetic import render_dataset

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
NEEDS = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


def commands(page):
    """What stands in the page's blocks of shell."""
    blocks = page.read_text(encoding="utf-8").split("```sh\n")[1:]
    return [line for block in blocks for line in block.partition("```")[0].splitlines()]


def test_there_are_some():
    assert len(commands(PAGE)) >= 5 and all(line.startswith("refinedet ") for line in commands(PAGE))


@pytest.mark.slow
@pytest.mark.timeout(900)  # nine exports, on a machine that may do other things besides
def test_they_run(tmp_path, monkeypatch, capsys):
    for package in NEEDS:
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    names = list(SHAPE_CLASSES[:3])
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16).eval()
    refinedet.save_model(model, "best.safetensors", class_names=names)
    render_dataset("cells", train=20, test=2, classes=names)
    Path("cells/test").rename("photos")
    Path("cells/annotations/test.json").unlink()
    for line in commands(PAGE):
        status = main(shlex.split(line)[1:])
        assert status == 0, (line, capsys.readouterr().err)
    written = "model.pt2 model.onnx best.xml best.bin whole.onnx trt.onnx small.xml small.bin small.onnx tiny.onnx"
    for name in written.split():
        assert Path(name).is_file(), name
    assert Path("found/detections.json").is_file()
    assert [path.name for path in tmp_path.glob(".*")] == []
