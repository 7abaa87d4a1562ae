"""Files in 8-bit integers: OpenVINO's by NNCF, ONNX by ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from refinedet.export import export_int8
from refinedet.export.int8 import PARTS, QUANTIZERS
from refinedet.export.int8_onnx import CONVOLUTIONS
from refinedet.model_info import KEY, ModelInfo

from .models import build, images, rendered


def needs(suffix):
    for package in ("onnxscript", *QUANTIZERS[suffix].NEEDS):
        pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.mark.parametrize("suffix", QUANTIZERS)
@pytest.mark.parametrize(("losses", "part"), [([3, 2, 0.5], 2), ([3, 2, 1.5], None)])
def test_layers_stay_in_float_until_no_more_is_lost(losses, part, suffix, tmp_path):
    needs(suffix)
    model, path = build("refinedet192_small"), tmp_path / f"model{suffix}"
    metrics = iter([50.0, *(50 - loss for loss in losses)])
    measured = []

    def measure(model):
        measured.append(model.detect(rendered()))
        return next(metrics)

    def run():
        return export_int8(model, path, list(rendered()), measure, batch_size=2, dynamic_batch=True)

    if part is None:
        with pytest.raises(
            ValueError, match="max_loss: expected at most 1 points lost in int8, got 1.50 of 50.00"
        ) as e:
            run()
        assert ("ONNX Runtime's quantisation" in str(e.value)) == (suffix == ".xml")
        assert not list(tmp_path.iterdir())
        return
    check = run()
    assert check.quantised == PARTS[part] and check.after == 50 - losses[-1] and check.size < 0.7
    written = {".xml": ["model.bin", "model.xml"], ".onnx": ["model.onnx"]}
    assert sorted(file.name for file in tmp_path.iterdir()) == written[suffix]
    assert len(measured) == len(losses) + 1
    for found in measured:  # the network is still about the same one
        assert found.count.min() > 0
        assert np.abs(found.scores[:, 0] - measured[0].scores[:, 0]).mean() < 0.2


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An end-to-end file in 8 bits as an `onnx` model, and what was detected by the network in float and by it."""
    needs(".onnx")
    onnx = pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("whole") / "whole.onnx"
    measured = []

    def measure(model):
        measured.append(model.detect(rendered()))
        return 50.0

    options = {"end_to_end": True, "pixels": "uint8", "batch_size": 2, "dynamic_batch": True}
    check = export_int8(build("refinedet192_small"), path, list(rendered()), measure, **options)
    assert check.quantised == PARTS[0] and check.size < 0.5
    return onnx.load(path), measured


def test_detections_from_inside_the_graph(whole):
    """Boxes, not only scores, as before: what makes them is not quantised."""
    _, (before, after) = whole
    assert before.count.min() > 3
    for image in range(len(before.count)):
        best = before.boxes[image, 0]
        gaps = np.abs(after.boxes[image, : after.count[image]] - best).max(axis=1)
        assert gaps.min() < 0.1


def test_what_is_in_8_bits(whole):
    """Every convolution, weights by channels and in 7 bits; and nothing behind the last of them."""
    from onnx import numpy_helper

    graph = whole[0].graph
    makers = {output: node for node in graph.node for output in node.output}
    constants = {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 20
    for node in convolutions:
        weight = makers[node.input[1]]
        assert weight.op_type == "DequantizeLinear" and makers[node.input[0]].op_type == "DequantizeLinear"
        numbers, scales = constants[weight.input[0]], constants[weight.input[1]]
        assert numbers.dtype == np.int8 and len(scales) == len(numbers) and np.abs(numbers).max() <= 64
    behind = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if behind.intersection(node.output) and node.op_type not in CONVOLUTIONS:
            behind.update(node.input)
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                source = makers[node.input[0]]
                assert source.op_type in ("QuantizeLinear", *CONVOLUTIONS), f"{source.op_type} is in 8 bits"


def test_the_file_says_what_it_is(whole):
    model = whole[0]
    (entry,) = model.metadata_props
    info = ModelInfo.from_json(entry.value, source="whole.onnx")
    assert entry.key == KEY and info.model == "refinedet192_small"
    assert (info.precision, info.outputs, info.pixels, info.batch) == ("int8", "detections", "uint8", None)
    assert [output.name for output in model.graph.output] == ["boxes", "scores", "labels", "count"]


@pytest.mark.parametrize("name", ["efgrnet192_small", "padet192_small"])
def test_deformable_networks(name, tmp_path):
    """The deformable convolutions stay in float, their weights in half of the bytes."""
    needs(".onnx")
    onnx = pytest.importorskip("onnx")
    model, path = build(name), tmp_path / "model.onnx"
    pixels = [np.clip(image + 128, 0, 255).astype(np.uint8) for image in images(model, 3).numpy()]
    measured = []

    def measure(model):
        measured.append(model.detect(np.stack(pixels)))
        return 50.0

    export_int8(model, path, pixels, measure)
    before, after = measured
    assert np.abs(after.scores[:, 0] - before.scores[:, 0]).max() < 0.2
    graph = onnx.load(path).graph
    makers = {output: node for node in graph.node for output in node.output}
    types = {constant.name: constant.data_type for constant in graph.initializer}
    deformable = [node for node in graph.node if node.op_type == "DeformConv"]
    assert deformable
    for node in deformable:
        weight = makers[node.input[1]]
        assert weight.op_type == "Cast" and types[weight.input[0]] == onnx.TensorProto.FLOAT16


def test_what_nncf_cannot_quantise_is_sent_to_onnx_runtime(monkeypatch, tmp_path):
    needs(".xml")
    nncf = pytest.importorskip("nncf")

    def quantize(*_, **__):
        raise nncf.UnsupportedModelError("an operation\nof another kind")

    monkeypatch.setattr(nncf, "quantize", quantize)
    expected = "NNCF cannot quantise refinedet192_small: an operation of another kind; ONNX Runtime may"
    with pytest.raises(ValueError, match=expected):
        export_int8(build("refinedet192_small"), tmp_path / "model.xml", list(rendered()), lambda model: 50.0)
    assert not list(tmp_path.iterdir())


def test_arguments_are_looked_at_first(tmp_path):
    model, few = build("refinedet192_small"), list(rendered(1))
    with pytest.raises(ValueError, match="calibration: images: expected an integer of at least 1, got 0"):
        export_int8(model, tmp_path / "model.xml", [], float)
    with pytest.raises(ValueError, match=r"calibration: expected uint8 of shape \(3, 64, 64\), got float32 of"):
        export_int8(model, tmp_path / "model.onnx", [np.zeros((3, 64, 64), np.float32)], float)
    with pytest.raises(ValueError, match="path: expected a file name that ends in .onnx or .xml, got .*model.pt2"):
        export_int8(model, tmp_path / "model.pt2", few, float)
    with pytest.raises(ValueError, match="end_to_end: expected false with .xml, whose 8-bit files have raw outputs"):
        export_int8(model, tmp_path / "model.xml", few, float, end_to_end=True)
    soft = build("refinedet192_small", preset="coco")
    with pytest.raises(ValueError, match="nms: expected hard suppression"):
        export_int8(soft, tmp_path / "model.onnx", few, float, end_to_end=True)
    assert not list(tmp_path.iterdir())
