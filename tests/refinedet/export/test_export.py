from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys

import pytest
import torch

import refinedet
from refinedet.export import export_onnx, export_program
from refinedet.export.onnx_file import NEEDED
from refinedet.model_info import ModelInfo

from .models import MODELS, build, images


@pytest.fixture(scope="module")
def small():
    return build("refinedet192_small")


@pytest.mark.parametrize("name", MODELS)
def test_a_program_detects_as_the_model(name, tmp_path):
    model = build(name)
    export_program(model, tmp_path / "model.pt2")
    run = torch.export.load(tmp_path / "model.pt2").module()
    x = images(model, 1)
    with torch.no_grad():
        expected = model(x)
    assert int(expected.count) > 0
    for got, want in zip(run(x), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_program_takes_any_number_of_images(small):
    run = export_program(small, batch_size=2, dynamic_batch=True).module()
    for count in (1, 2, 5):
        x = images(small, count)
        for got, want in zip(run(x), small(x), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_program_says_what_it_is_and_takes_pixels(small, tmp_path):
    path = tmp_path / "model.pt2"
    export_program(small, path, class_names=["a", "b", "c"], pixels="uint8")
    extra = {"refinedet": ""}
    run = torch.export.load(path, extra_files=extra).module()
    info = ModelInfo.from_json(extra["refinedet"], source="model.pt2")
    assert info.classes == ("a", "b", "c") and info.batch == 1 and info.input_size == (64, 64)
    assert info.outputs == "detections" and info.pixels == "uint8" and info.options == small.spec.options
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    for got, want in zip(run(pixels), small(pixels), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_a_program_runs_with_the_ops_alone(small, tmp_path):
    export_program(small, tmp_path / "model.pt2")
    code = (
        "import sys, torch, refinedet_ext\n"
        f"run = torch.export.load({str(tmp_path / 'model.pt2')!r}).module()\n"
        "boxes, scores, labels, count = run(torch.zeros(1, 3, 64, 64))\n"
        "assert boxes.shape == (1, 20, 4) and 'refinedet' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


@pytest.mark.parametrize("name", MODELS)
def test_an_onnx_graph_gives_the_raw_outputs(name, tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, path = build(name), tmp_path / "model.onnx"
    check = export_onnx(model, path, batch_size=2, dynamic_batch=True)
    assert str(check).startswith("agrees with the model in ONNX Runtime ") and check.batches == (1, 2, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    graph = onnx.load(path).graph
    assert {node.domain for node in graph.node} == {""}  # standard operations alone
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(refinedet.HeadOutputs._fields)
    for count in (1, 3):
        x = images(model, count)
        with torch.no_grad():
            expected = model.head_outputs(x)
        for got, want in zip(session.run(None, {"images": x.numpy()}), expected, strict=True):
            assert float((torch.from_numpy(got) - want).abs().max()) <= 1e-3 * float(want.abs().max())


def test_onnx_without_its_packages(small, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in NEEDED else found(name))
    with pytest.raises(ImportError, match="needs the packages onnx and onnxscript.*pip install 'onnx>="):
        export_onnx(small, tmp_path / "model.onnx")


@pytest.mark.parametrize("export", [export_program, export_onnx])
def test_wrong_arguments_are_named(export, small, tmp_path):
    path = tmp_path / ("model.onnx" if export is export_onnx else "model.pt2")
    with pytest.raises(TypeError, match=r"model: expected a refinedet\.Detector, got Linear"):
        export(torch.nn.Linear(1, 1), path)
    with pytest.raises(TypeError, match="optimized for this CPU"):
        export(refinedet.optimize_for_inference(small, dtype="float32"), path)
    with pytest.raises(ValueError, match=r"path: expected a file name that ends in \.(onnx|pt2), got '.*model\.bin'"):
        export(small, tmp_path / "model.bin")
    with pytest.raises(ValueError, match="input_size: expected a multiple of 64, got 100"):
        export(small, path, input_size=100)
    with pytest.raises(ValueError, match="batch_size: expected 2 or more with dynamic_batch"):
        export(small, path, dynamic_batch=True)
    with pytest.raises(ValueError, match=r"dynamic_batch: expected one of \[True, False\], got 'yes'"):
        export(small, path, dynamic_batch="yes")
    with pytest.raises(ValueError, match=r"pixels: expected one of \['uint8', 'float32'\], got 'bgr'"):
        export(small, path, pixels="bgr")
    with pytest.raises(ValueError, match="class_names: expected 3 names, one per foreground class, got 1"):
        export(small, path, class_names=["a"])
    with pytest.raises(FileNotFoundError, match="path: there is no folder"):
        export(small, tmp_path / "none" / path.name)
    with pytest.raises(ValueError, match="model: expected weights in float32, got torch.bfloat16"):
        export(copy.deepcopy(small).bfloat16(), path)
    by_hand = refinedet.RefineDet(refinedet.backbones.SmallNet(), refinedet.RefineDetConfig(input_size=64), 4).eval()
    with pytest.raises(ValueError, match="model: expected one that create_model built"):
        export(by_hand, path)
    with pytest.raises(ValueError, match="model: expected one in eval mode"):
        export(refinedet.create_model("refinedet192_small", 4).train(), path)
    assert not list(tmp_path.iterdir())
