"""`refinedet eval` in another runtime: the detections of the model in torch, and their metrics."""

from __future__ import annotations

import json

import pytest

from refinedet.cli import main
from refinedet.data.shapes import SHAPE_CLASSES
from refinedet.data.synthetic import render_dataset

from .conftest import NAMES, needs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    render_dataset(root, train=2, test=5, size=96, classes=SHAPE_CLASSES[:3], seed=1)
    for file in (root / "annotations").iterdir():  # the model's names
        content = json.loads(file.read_text())
        for category, name in zip(content["categories"], NAMES, strict=True):
            category["name"] = name
        file.write_text(json.dumps(content))
    return ["--data.root", str(root), "--data.workers=0", "--data.eval_batch_size=2"]


@pytest.mark.parametrize(("file", "runtime"), [("onnx_file", "onnxruntime"), ("whole_file", "openvino")])
def test_metrics(file, runtime, weights, data, tmp_path, request, capsys):
    needs(runtime)
    path = request.getfixturevalue(file)
    found = {}
    for name, options in (("torch", [weights]), (runtime, [path, "--runtime", runtime])):
        out = tmp_path / name
        status = main(["eval", "--weights", *map(str, options), "--output", str(out), *data])
        assert status == 0, capsys.readouterr().err
        metrics = json.loads((out / "metrics.json").read_text())
        found[name] = json.loads((out / "detections.json").read_text()), metrics["AP"], metrics["runtime"]
    assert found["torch"][2] == "torch" and found[runtime][2].startswith(("ONNX Runtime", "OpenVINO"))
    assert found[runtime][1] == pytest.approx(found["torch"][1], abs=0.01)
    wanted, got = found["torch"][0], found[runtime][0]
    assert len(got) == len(wanted) == 5 * 20
    for one, other in zip(got, wanted, strict=True):
        assert one["image_id"] == other["image_id"] and one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_what_a_runtime_has_not_is_refused(onnx_file, data, tmp_path, capsys):
    options = ["eval", "--weights", str(onnx_file), "--output", str(tmp_path / "out"), *data]
    for more, message in (
        (["--multi_scale", "320_voc"], "multi_scale: expected None, not several sizes"),
        (["--device", "cuda"], "device: expected cpu, not cuda"),
        (["--input_size", "128"], "input_size: the file has 64 and no other, got 128"),
    ):
        assert main([*options, *more]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
