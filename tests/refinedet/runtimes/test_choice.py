"""`runtime="auto"`: which runtime it takes, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import refinedet
from refinedet.runtimes.choice import choose
from refinedet.runtimes.files import RUNTIMES

ALL = tuple(RUNTIMES)


def header_file(folder: Path, name: str) -> Path:
    """A model file by its header alone, which is what the choice reads."""
    from safetensors.torch import save_file

    path = folder / f"{name}.safetensors"
    save_file({}, path, metadata={"refinedet": json.dumps({"model": {"name": name}})})
    return path


@pytest.fixture
def installed(monkeypatch):
    def only(*names, bfloat16=True):
        monkeypatch.setattr("refinedet.runtimes.choice.multiplies_bfloat16", lambda: bfloat16)
        monkeypatch.setattr("refinedet.runtimes.choice.is_installed", lambda name: name in names)

    return only


@pytest.mark.parametrize(
    ("there", "optimize", "light", "heavy"),
    [
        (ALL, "off", ("openvino", "off"), ("torch", "float32")),
        (ALL, "float32", ("openvino", "float32"), ("torch", "float32")),
        (ALL, "auto", ("openvino", "auto"), ("openvino", "auto")),
        (ALL, "bfloat16", ("openvino", "bfloat16"), ("openvino", "bfloat16")),
        (("torch", "onnxruntime"), "off", ("onnxruntime", "off"), ("torch", "float32")),
        (("torch", "onnxruntime"), "auto", ("torch", "auto"), ("torch", "auto")),
        (("torch",), "off", ("torch", "float32"), ("torch", "float32")),
        (("torch",), "bfloat16", ("torch", "bfloat16"), ("torch", "bfloat16")),
        (("onnxruntime", "openvino"), "off", ("openvino", "off"), ("openvino", "off")),
        (("onnxruntime",), "off", ("onnxruntime", "off"), ("onnxruntime", "off")),
    ],
)
def test_of_a_model_file(there, optimize, light, heavy, weights, installed, tmp_path):
    installed(*there)
    for path, wanted in ((weights, light), (header_file(tmp_path, "refinedet320_vgg16"), heavy)):
        choice = choose(path, optimize=optimize)
        assert choice[:2] == wanted and choice.reason


@pytest.mark.parametrize(("optimize", "runtime"), [("float32", "openvino"), ("bfloat16", "torch"), ("auto", "torch")])
@pytest.mark.parametrize("name", ["efgrnet192_small", "padet192_small"])
def test_of_a_model_with_aligned_convolutions(name, optimize, runtime, installed, tmp_path):
    installed(*ALL)
    assert choose(header_file(tmp_path, name), optimize=optimize)[:2] == (runtime, optimize)


def test_auto_is_float32_where_the_processor_has_no_bfloat16(installed, tmp_path):
    path = header_file(tmp_path, "refinedet320_vgg16")
    installed(*ALL)
    assert choose(path, optimize="auto")[:2] == ("openvino", "auto")
    installed(*ALL, bfloat16=False)
    assert choose(path, optimize="auto")[:2] == ("torch", "auto")
    assert choose(path, optimize="bfloat16")[:2] == ("openvino", "bfloat16")


def test_of_exported_files(installed, tmp_path):
    for name in ("m.onnx", "m.xml", "m.pt2"):
        (tmp_path / name).touch()
    installed(*ALL)
    assert [choose(tmp_path / name).runtime for name in ("m.onnx", "m.xml", "m.pt2")] == [
        "openvino",
        "openvino",
        "torch",
    ]
    installed("torch", "onnxruntime")
    assert choose(tmp_path / "m.onnx").runtime == "onnxruntime"
    with pytest.raises(ImportError, match=r"m\.xml runs with openvino, and none of them is installed"):
        choose(tmp_path / "m.xml")
    with pytest.raises(FileNotFoundError, match="weights: no file"):
        choose(tmp_path / "no.onnx")


def test_what_torch_alone_can_do_stays_there(weights, installed):
    installed(*ALL)
    assert choose(weights, in_torch="multi_scale").runtime == "torch"
    found = refinedet.Predictor.from_file(weights, runtime="auto", multi_scale="320_voc")
    assert found.about.startswith("runtime: torch") and "no other runtime" in found.about
