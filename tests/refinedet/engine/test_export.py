from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.data.shapes import SHAPE_CLASSES
from refinedet.data.synthetic import render_dataset

NAMES = list(SHAPE_CLASSES[:3])


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16).eval()
    return refinedet.save_model(model, tmp_path / "model.safetensors", class_names=NAMES)


def export(weights, *options):
    return main(["export", "--weights", str(weights), *options])


def test_a_program(weights, capsys):
    assert export(weights, "--format", "pt2") == 0
    file = weights.with_suffix(".pt2")
    said = capsys.readouterr().out
    assert said.startswith(f"{file}: ") and " MB, agrees with the model in torch " in said
    assert file.stat().st_size > 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "output, format: expected one of them, a file or pt2, onnx, openvino, got none"),
        (["--output", "model.bin"], "output: expected a file name that ends in .pt2 or .onnx or .xml, got 'model.bin'"),
        (["--output", "model.onnx", "--format", "pt2"], "output: expected .pt2 as for pt2, got 'model.onnx'"),
        (
            ["--output", "m.pt2", "--end_to_end", "true"],
            "end_to_end: expected format onnx or openvino with it, got pt2",
        ),
        (["--format", "openvino", "--efficient_nms", "true"], "efficient_nms: expected format onnx with it"),
        (["--format", "onnx", "--efficient_nms", "true"], "efficient_nms: expected false without end_to_end, got true"),
        (["--format", "pt2", "--int8", "true"], "int8: expected format onnx or openvino with it, got pt2"),
        (["--format", "openvino", "--int8", "true"], "data.root: expected the folder of a data set to calibrate on"),
        (["--format", "openvino", "--int8", "true", "--end_to_end", "true"], "end_to_end: expected format onnx with"),
        (
            ["--format", "onnx", "--int8", "true", "--end_to_end", "true", "--efficient_nms", "true"],
            "efficient_nms: expected false with int8, got true",
        ),
        (["--format", "pt2", "--data.root", "here"], "data: expected nothing without int8, got a data set"),
        (["--format", "pt2", "--calibration_images", "0"], "calibration_images: expected an integer of at least 1"),
    ],
)
def test_options_that_do_not_go_together(options, message, weights, capsys):
    assert export(weights, *options) == 1
    assert message in capsys.readouterr().err
    assert [file.name for file in weights.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("needs", "options", "files"),
    [
        (("nncf",), ["--format", "openvino"], ["model.bin", "model.xml"]),
        (("onnxruntime",), ["--format", "onnx", "--end_to_end", "true"], ["model.onnx"]),
    ],
)
def test_8_bits_say_what_they_cost(needs, options, files, weights, tmp_path, capsys):
    for package in ("onnxscript", *needs):
        pytest.importorskip(package, reason=f"{package} is not installed")
    render_dataset(tmp_path / "scenes", train=30, test=1, classes=NAMES)
    options += ["--data.root", str(tmp_path / "scenes"), "--calibration_images", "5", "--max_loss", "100"]
    capsys.readouterr()
    status = export(weights, "--int8", "true", *options)
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "in float32, " in out and "in int8 (all layers, calibrated on 5 images), 0." in out
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == sorted([*files, "model.safetensors"])
