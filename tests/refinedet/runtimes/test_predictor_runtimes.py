"""A predictor gives the same in every runtime, for every kind of file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from refinedet import Predictor
from refinedet.runtimes import RuntimeModel, open_model

from .conftest import NAMES, needs

FILES = [
    ("onnx_file", "onnxruntime"),
    ("onnx_file", "openvino"),
    ("whole_file", "onnxruntime"),
    ("whole_file", "openvino"),
    ("xml_file", "openvino"),
    ("program_file", "torch"),
    ("weights", "onnxruntime"),
    ("weights", "openvino"),
]


@pytest.fixture(scope="module")
def expected(weights, photos):
    found = Predictor.from_file(weights)(photos, score_threshold=0.0)
    assert all(len(one) == 20 for one in found)
    return found


@pytest.mark.parametrize(("file", "runtime"), FILES)
def test_a_file_gives_what_the_model_gives(file, runtime, expected, photos, request):
    needs(runtime)
    path = request.getfixturevalue(file)
    predictor = Predictor.from_file(path, runtime=runtime, batch_size=3)
    assert predictor.class_names == NAMES and predictor.input_size == 64
    assert predictor.about.startswith(f"runtime: {'torch' if runtime == 'torch' else predictor.model.session.runtime}")
    for got, want in zip(predictor(photos, score_threshold=0.0), expected, strict=True):
        assert got.size == want.size
        np.testing.assert_array_equal(got.labels, want.labels)
        np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)
        np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-2)


@pytest.mark.parametrize("nms", ["coco", "efgrnet", {"preset": "coco", "hard_iou": 0.45}, {"keep_per_class": 2}])
def test_another_suppression_is_that_of_the_model(nms, weights, onnx_file, photos):
    wanted = Predictor.from_file(weights, nms=nms)(photos, score_threshold=0.0)
    found = Predictor.from_file(onnx_file, nms=nms)(photos, score_threshold=0.0)
    for got, want in zip(found, wanted, strict=True):
        assert len(got) == len(want) > 0
        np.testing.assert_allclose(got.scores, want.scores, atol=1e-5)
        np.testing.assert_array_equal(np.sort(got.labels), np.sort(want.labels))


def test_bfloat16_in_openvino(onnx_file, expected, photos):
    needs("openvino")
    from openvino import Core

    if "BF16" not in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ValueError, match="optimize: this processor does not multiply bfloat16"):
            Predictor.from_file(onnx_file, runtime="openvino", optimize="bfloat16")
        return
    predictor = Predictor.from_file(onnx_file, runtime="openvino", optimize="bfloat16")
    assert predictor.model.session.precision == "bfloat16"
    for got, want in zip(predictor(photos, score_threshold=0.0), expected, strict=True):
        np.testing.assert_allclose(got.scores, want.scores, atol=0.02)


def test_threads_are_those_of_the_network(weights, onnx_file, photos):
    import refinedet_ext.numpy as rxn

    before = torch.get_num_threads(), rxn.get_num_threads()
    try:
        Predictor.from_file(weights, threads=1)
        assert torch.get_num_threads() == 1
        predictor = Predictor.from_file(onnx_file, threads=2)
        assert predictor.model.session._session.get_session_options().intra_op_num_threads == 2
        assert rxn.get_num_threads() == 2
    finally:
        torch.set_num_threads(before[0])
        rxn.set_num_threads(before[1])


def test_what_does_not_fit_is_named(weights, onnx_file, whole_file, xml_file, tmp_path):
    for path, options, message in (
        (onnx_file, {"runtime": "torch"}, r"runtime: torch does not run \.onnx files, but onnxruntime and openvino do"),
        (xml_file, {"runtime": "onnxruntime"}, r"runtime: onnxruntime does not run \.xml files, but openvino does"),
        (onnx_file, {"runtime": "tensorrt"}, "runtime: expected one of torch, onnxruntime, openvino, auto, got"),
        (onnx_file, {"optimize": "bfloat16"}, "ONNX Runtime computes in float32 on a CPU, runtime openvino in bf"),
        (onnx_file, {"optimize": "int4"}, "optimize: expected one of"),
        (onnx_file, {"threads": 0}, "threads: expected an integer of at least 1, got 0"),
        (onnx_file, {"input_size": 128}, "input_size: the file has 64 and no other, got 128"),
        (onnx_file, {"theta": 0.5}, r"theta: expected options of \.safetensors files alone, got .*model\.onnx"),
        (onnx_file, {"nms": "other"}, "nms: expected one of"),
        (whole_file, {"nms": "coco"}, "nms: expected None, as the suppression is inside the file"),
        (onnx_file, {"multi_scale": "320_voc"}, "multi_scale: expected None.*runtime torch"),
        (onnx_file, {"device": "cuda"}, "device: expected cpu, not cuda"),
        (weights, {"runtime": "onnxruntime", "multi_scale": "320_voc"}, "multi_scale: expected None.*runtime torch"),
    ):
        with pytest.raises(ValueError, match=message):
            Predictor.from_file(path, **options)
    for name in ("no.onnx", "no.xml", "no.safetensors"):
        with pytest.raises(FileNotFoundError, match=f"weights: no file .*{name}"):
            Predictor.from_file(tmp_path / name, runtime="openvino")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_damaged_file_is_named_in_one_line(runtime, content, onnx_file, tmp_path):
    needs(runtime)
    path = tmp_path / "cut.onnx"
    whole = onnx_file.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ValueError) as raised:
        Predictor.from_file(path, runtime=runtime)
    text = str(raised.value)
    assert text.startswith("weights: ") and "cut.onnx" in text and "\n" not in text


def test_a_damaged_program_is_named(program_file, tmp_path):
    path = tmp_path / "cut.pt2"
    path.write_bytes(program_file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"weights: torch cannot run .*cut\.pt2"):
        Predictor.from_file(path)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_file_of_others_is_refused(runtime, onnx_file, tmp_path):
    needs(runtime)
    import onnx

    model = onnx.load(onnx_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx says nothing about its classes.*not written by refinedet"):
        Predictor.from_file(tmp_path / "other.onnx", runtime=runtime)


def test_a_network_that_overflows_says_so(onnx_file):
    opened = open_model(onnx_file)

    class Overflows:
        runtime, precision, info = "none", "float32", opened.info

        def __call__(self, images):
            return {name: np.full_like(value, np.inf) for name, value in opened.session(images).items()}

    with pytest.raises(FloatingPointError, match="arm_logits hold NaN or infinity"):
        RuntimeModel(Overflows(), opened.info).detect(np.zeros((1, 3, 64, 64), np.uint8))


def test_images_of_another_kind_are_refused(onnx_file):
    model = open_model(onnx_file)
    with pytest.raises(TypeError, match="images: expected an array of uint8, got float32"):
        model.detect(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(ValueError, match=r"images: expected .*got .*\(1, 3, 32, 64\)"):
        model.detect(np.zeros((1, 3, 32, 64), np.uint8))
    with pytest.raises(ValueError, match="images: expected at least one, got none"):
        model.detect(np.zeros((0, 3, 64, 64), np.uint8))


def test_a_quantised_file_says_so(onnx_file):
    model = open_model(onnx_file)
    assert RuntimeModel(model.session, model.info).about.endswith(", float32")
    model.session.info = replace(model.info, precision="int8")
    assert RuntimeModel(model.session, model.session.info).about.endswith(", int8 and float32")
