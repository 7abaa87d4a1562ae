"""Files that carry themselves: end to end, in OpenVINO, with TensorRT's plugin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

import refinedet
import refinedet_ext as rx
from refinedet.export import export_efficient_nms, export_onnx, export_openvino
from refinedet.export.verify import Check, compare_detections, compare_raw, write_checked
from refinedet.model_info import ModelInfo

from ..data.makers import BCCD, needs_bccd
from .models import build, pixels_of, rendered

NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    return pytest.importorskip("onnx", reason="onnx is not installed")


def photographs(count=5):
    return pixels_of([cv2.imread(str(path)) for path in sorted((BCCD / "JPEGImages").glob("*.jpg"))[:count]])


@pytest.fixture(scope="module")
def raw(onnx, tmp_path_factory):
    """The network alone in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path_factory.mktemp("raw") / "raw.onnx"
    export_onnx(build("refinedet192_small"), path, batch_size=2, dynamic_batch=True, pixels="uint8")
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=["code", "paper", "efgrnet"])
def whole(request, raw, onnx, tmp_path_factory):
    """A model with this preset, and its file with the detection step in ONNX Runtime."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, path = build("refinedet192_small", preset=request.param), tmp_path_factory.mktemp("whole") / "whole.onnx"
    check = export_onnx(model, path, batch_size=2, dynamic_batch=True, end_to_end=True, pixels="uint8")
    assert check.detections > 0 and check.batches == (1, 2, 5)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    return model, runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("take", [rendered, pytest.param(photographs, marks=needs_bccd)])
def test_detections_come_from_inside_the_graph(take, whole, raw):
    """As `refinedet_ext.detect` makes them of the raw outputs of the same network in the same runtime."""
    model, session = whole
    pixels = take()
    for count in (1, 2, 5):
        got, outputs = (one.run(None, {"images": pixels[:count]}) for one in (session, raw))
        found = model.detect(refinedet.HeadOutputs(*map(torch.from_numpy, outputs)))
        want = {name: value.numpy() for name, value in found._asdict().items()}
        assert int(want["count"].min()) > 0
        compare_detections(dict(zip(rx.Detections._fields, got, strict=True)), want, "ONNX Runtime")


def test_an_onnx_file_says_what_it_is(onnx, tmp_path):
    model, path = build("refinedet192_small"), tmp_path / "model.onnx"
    export_onnx(model, path, class_names=NAMES)
    (entry,) = onnx.load(path).metadata_props
    info = ModelInfo.from_json(entry.value, source="model.onnx")
    assert entry.key == "refinedet" and info.classes == tuple(NAMES) and info.batch == 1
    assert info.model == "refinedet192_small" and info.options == model.spec.options and info.nms == model.nms
    assert info.outputs == "raw" and info.pixels == "float32" and info.two_step


def test_an_openvino_file(onnx, tmp_path):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    model, path = build("refinedet192_small"), tmp_path / "model.xml"
    check = export_openvino(model, path, class_names=NAMES, batch_size=2, dynamic_batch=True)
    assert "agrees with the model in OpenVINO" in str(check) and check.batches == (1, 2, 5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    network = openvino.Core().read_model(path)
    info = ModelInfo.from_json(network.get_rt_info(["refinedet", "model_info"]).astype(str), source="model.xml")
    assert info.classes == tuple(NAMES) and info.batch is None


def test_tensorrt_plugin_takes_the_place_of_the_suppression(onnx, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, path = build("refinedet192_small", keep_top_k=50), tmp_path / "model.onnx"
    check = export_efficient_nms(model, path, batch_size=2, dynamic_batch=True)
    assert check.detections > 0 and "up to the plugin" in str(check)
    graph = onnx.load(path).graph
    assert "NonMaxSuppression" not in {node.op_type for node in graph.node}
    plugin = graph.node[-1]
    assert (plugin.op_type, plugin.domain) == ("EfficientNMS_TRT", "TRT")
    assert list(plugin.input) == ["nms_boxes", "nms_scores"]
    assert list(plugin.output) == [output.name for output in graph.output]
    shapes = {
        value.name: [one.dim_value or one.dim_param for one in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    anchors = shapes["nms_boxes"][1]
    assert shapes["nms_boxes"] == ["batch", anchors, 4] and shapes["nms_scores"] == ["batch", anchors, 3]
    assert shapes["num_detections"] == ["batch", 1] and shapes["detection_boxes"] == ["batch", 50, 4]
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in plugin.attribute}
    assert attributes["max_output_boxes"] == 50 and attributes["background_class"] == -1
    assert attributes["box_coding"] == attributes["score_activation"] == 0
    with pytest.raises(ValueError, match="nms: expected no limit per class with efficient_nms, got 50"):
        export_efficient_nms(build("refinedet192_small", preset="efgrnet"), path)


def test_a_file_that_fails_its_check_leaves_nothing(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("older")

    def write(made):
        made.write_text("newer")
        made.with_suffix(".bin").write_text("weights")

    def fails(made):
        assert made.read_text() == "newer" and made.name == path.name
        raise ValueError("another model")

    with pytest.raises(ValueError, match="another model"):
        write_checked(path, write, fails)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]
    done = Check("here", (1,), 0.0)
    assert write_checked(path, write, lambda made: done) is done
    assert path.read_text() == "newer" and (tmp_path / "model.bin").read_text() == "weights"
    assert len(list(tmp_path.iterdir())) == 2


def test_other_numbers_are_found():
    want = {"a": np.array([1.0, 2.0], np.float32)}
    assert compare_raw({"a": want["a"] + np.float32(1e-5)}, want, "here") == pytest.approx(5e-6, rel=0.1)
    for got in (want["a"] + 0.1, want["a"] * np.nan):
        with pytest.raises(ValueError, match="here: a: expected what the model gives to 0.001 of 2, got numbers"):
            compare_raw({"a": got}, want, "here")
    with pytest.raises(ValueError, match=r"here: a: expected shape \(2,\) as the model has, got \(1,\)"):
        compare_raw({"a": want["a"][:1]}, want, "here")
