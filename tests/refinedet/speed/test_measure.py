"""Which detectors are measured, what is timed, and what the table and the JSON say."""

from __future__ import annotations

import gc
import itertools
import json

import cv2
import numpy as np
import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.evaluation.results import ImageDetections
from refinedet.inference.network import OneSize
from refinedet.speed import SpeedReport, format_table, measure, measure_speed, plan_speed, timing, to_dict
from refinedet.speed.timing import LEAST, WARM_UP, time_calls


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = refinedet.create_model("refinedet192_small", num_classes=4, input_size=64, tcb_channels=16)
    return refinedet.save_model(model, tmp_path_factory.mktemp("weights") / "model.safetensors")


def test_by_default_every_model_whose_paper_gives_a_speed():
    plan = {one.name: one for one in plan_speed()}
    assert len(plan) == 14 and all(one.published for one in plan.values())
    assert (plan["refinedet512_vgg16"].num_classes, plan["refinedet512_vgg16"].side) == (21, 512)
    assert plan["padet384_vgg16"].num_classes == plan["refinedet320_mobilenet_v1"].num_classes == 81


def test_names_patterns_and_files(weights):
    plan = plan_speed(["efgrnet*_small", "efgrnet192_small", str(weights)], input_size=64)
    assert [one.label for one in plan] == ["efgrnet192_small", "efgrnet320_small", str(weights)]
    assert [one.num_classes for one in plan] == [21, 21, 4] and {one.side for one in plan} == {64}
    assert {one.name for one in plan_speed(["*"])} == set(refinedet.list_models())
    assert plan_speed(["padet192_small"], num_classes=7)[0].num_classes == 7


def test_a_paper_says_nothing_about_another_input():
    assert plan_speed(["refinedet320_vgg16"])[0].published
    assert not plan_speed(["refinedet320_vgg16"], input_size=512)[0].published


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"models": ["refinedet320_vg16"]}, ValueError, "models: no model 'refinedet320_vg16'; did you mean"),
        ({"models": []}, ValueError, "models: expected at least one name or file, got none"),
        ({"models": ["no.safetensors"]}, FileNotFoundError, "weights: no file no.safetensors"),
        ({"models": ["padet192_small"], "input_size": 65}, ValueError, "input_size: expected a multiple of"),
        ({"models": ["padet192_small"], "num_classes": 1}, ValueError, "num_classes: expected an integer of at least"),
    ],
)
def test_plans_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        plan_speed(**arguments)


def test_a_file_has_its_own_classes(weights):
    with pytest.raises(ValueError, match="num_classes: expected None beside .*model.safetensors, .* got 21"):
        plan_speed([str(weights)], num_classes=21)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sizes": []}, "batch_sizes: expected at least one"),
        ({"batch_sizes": [1, 0]}, "batch_sizes: expected an integer of at least 1, got 0"),
        ({"threads": 0}, "threads: expected an integer of at least 1, got 0"),
        ({"seconds": -1}, "seconds: expected a number from 0"),
        ({"device": "gpu"}, "device: expected one such as cpu or cuda, got 'gpu'"),
        ({"device": "cuda:99"}, "device: expected one that is here, got 'cuda:99'"),
        ({"optimize": "int8"}, "optimize: expected one of"),
        ({"device": "meta", "optimize": "auto"}, "optimize: expected off on meta"),
        ({"runtime": "tensorrt"}, "runtime: expected one of"),
        ({"device": "meta", "runtime": "openvino"}, "runtime: expected torch on meta"),
        ({"images": ["0"]}, "images: expected image files, got a camera"),
        ({"images": []}, "images: expected at least one, got none"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_built(options, message, monkeypatch):
    monkeypatch.setattr(measure, "_build", None)
    with pytest.raises(ValueError, match=message):
        measure_speed(plan_speed(["refinedet192_small"]), **options)


def test_warm_calls_do_not_count_and_slow_ones_are_repeated(monkeypatch):
    clock = itertools.count()  # every look at it takes a second
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    calls = []
    times = time_calls(lambda: calls.append(gc.isenabled()), seconds=0.0)
    assert (times.median, times.low, times.high, times.repetitions) == (1.0, 1.0, 1.0, LEAST)
    assert calls == [True] * WARM_UP + [False] * LEAST and gc.isenabled()
    assert time_calls(lambda: None, seconds=60.0).repetitions == 22  # two looks a call, three from the sixth on


def test_quartiles_are_of_the_calls(monkeypatch):
    moments = itertools.accumulate([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(moments)))
    times = time_calls(lambda: None, seconds=0.0)
    assert (times.low, times.median, times.high) == (2.0, 3.0, 4.0)


def test_rows_speak_of_images_and_use_them_in_turn(monkeypatch):
    (contestant,) = plan_speed(["refinedet192_small"])
    monkeypatch.setattr(measure, "time_calls", lambda call, seconds: (call(), call(), timing.Times(0.5, 0.25, 1, 7))[2])
    seen = []

    def network(images):
        seen.append([int(image[0, 0, 0]) for image in images])
        return [ImageDetections(0, np.zeros((n, 4)), np.zeros(n), np.ones(n)) for n in (4, 8)]

    images = [np.full((2, 2, 3), value, np.uint8) for value in range(3)]
    row = measure._measure(contestant, network, images, 2, 1.0)
    assert seen == [[0, 1], [2, 0]]
    assert (row.images_per_second, row.low, row.high, row.milliseconds) == (4.0, 2.0, 8.0, 250.0)
    assert (row.repetitions, row.detections) == (7, 6.0)


def test_whole_detectors_from_images_in_memory(weights, tmp_path, monkeypatch):
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))
    given = []

    class Recorded(OneSize):
        def __call__(self, images):
            given.append((torch.get_num_threads(), len(images), {image.shape for image in images}))
            return super().__call__(images)

    monkeypatch.setattr(measure, "OneSize", Recorded)
    before = torch.get_num_threads()
    plan = plan_speed(["refinedet192_small", str(weights)], input_size=64)
    report = measure_speed(plan, batch_sizes=(1, 3), threads=2, seconds=0.0, images=[str(photo)])
    assert torch.get_num_threads() == before and report.machine.threads == 2
    assert [(row.contestant, row.batch_size) for row in report.rows] == [(one, n) for one in plan for n in (1, 3)]
    assert {count for _, count, _ in given} == {1, 3}
    assert {(threads, *shapes) for threads, _, shapes in given} == {(2, (64, 64, 3))}
    for row in report.rows:
        assert 0 < row.low <= row.images_per_second <= row.high
        assert row.milliseconds == pytest.approx(1000 / row.images_per_second) and row.repetitions >= LEAST


def test_weights_of_a_file_are_taken_as_they_are(weights):
    (contestant,) = plan_speed([str(weights)])
    model = measure._build(contestant, [], torch.device("cpu"))
    assert model.nms.score_threshold == 0.01 and model.config.theta == 0.99


def test_an_optimized_copy_is_measured(monkeypatch):
    plan = plan_speed(["refinedet192_small"], input_size=64)
    models = []
    monkeypatch.setattr(measure, "OneSize", lambda model, side: models.append(model) or OneSize(model, side))
    measure_speed(plan, batch_sizes=[2], seconds=0.0, optimize="float32")
    assert models[-1].report.input_shapes == [(2, 3, 64, 64)]


def _report(names, batches=(1, 8)):
    rows = [
        measure.SpeedRow(one, size, 10.0 * size, 8.0 * size, 12.0 * size, 100 / size, 9, 123.4)
        for one in plan_speed(names)
        for size in batches
    ]
    machine = measure.describe_machine(torch.device("cpu"))
    return SpeedReport(machine, {"device": "cpu"}, rows)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_in_another_runtime(weights, runtime):
    for module in ("onnx", "onnxscript", runtime):
        pytest.importorskip(module)
    plan = plan_speed([str(weights)])
    here, there = (measure_speed(plan, batch_sizes=[1, 3], seconds=0, runtime=name) for name in ("torch", runtime))
    assert [row.detections for row in there.rows] == pytest.approx([row.detections for row in here.rows], rel=0.1)
    assert f"networks in {runtime}" in format_table(there) and "networks in" not in format_table(here)


def test_the_table_has_the_papers_figures_beside_the_measured_ones():
    report = _report(["refinedet320_vgg16", "refinedet192_small", "refinedetlite320_res2netlite72"])
    text = format_table(report)
    machine, _, head, first, second, own, *_ = text.split("\n")
    assert machine == report.machine.line() and head.startswith("model ")
    figures = "40.3 Titan X (Maxwell) / 50.0 Titan X (Pascal)"
    assert " ".join(first.split()) == f"refinedet320_vgg16 {figures} 320 21 1 10.0 8.00–12.0 100 123"
    assert " ".join(second.split()) == "320 21 8 80.0 64.0–96.0 12.5 123"
    assert own.split()[:2] == ["refinedet192_small", "–"]
    assert '7.7 i7-6700 (3.4 GHz) / 7.6 i7-6700 (3.4 GHz) "++"' in text
    assert "Titan X (Maxwell), CUDA 8.0, cuDNN 6 (RefineDet, table 1); Titan X (Pascal), PyTorch 0.4.1 (EFGRNet" in text


def test_numbers_for_json():
    content = json.loads(json.dumps(to_dict(_report(["padet512_resnet101"], [4]))))
    (row,) = content["rows"]
    assert (row["model"], row["file"], row["input_size"], row["num_classes"]) == ("padet512_resnet101", None, 512, 81)
    assert (row["batch_size"], row["images_per_second"], row["low"], row["high"]) == (4, 40.0, 32.0, 48.0)
    assert row["published"][0]["images_per_second"] == 28.6 and row["published"][0]["device"].startswith("GTX 1080 Ti")
    assert content["machine"]["torch"] == torch.__version__


def test_the_command(weights, tmp_path, capsys):
    out = tmp_path / "speed.json"
    arguments = ["speed", "--models", "refinedet192_small", str(weights), "--batch_sizes", "1", "2"]
    assert main([*arguments, "--input_size", "64", "--seconds", "0", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "images/s" in text and str(weights) in text and f"written to {out}" in text
    rows = json.loads(out.read_text())["rows"]
    assert [(row["model"], row["batch_size"]) for row in rows] == [("refinedet192_small", n) for n in (1, 2, 1, 2)]


def test_the_command_refuses_before_it_measures(tmp_path, capsys):
    there = tmp_path / "speed.json"
    there.write_text("kept")
    assert main(["speed", "--models", "refinedet192_small", "--json", str(there)]) == 1
    assert "json: expected a file that is not there yet" in capsys.readouterr().err
    assert there.read_text() == "kept"
    assert main(["speed", "--batch_sizes", "1", "many"]) == 2
    assert "batch_sizes: expected an integer, got many" in capsys.readouterr().err
    assert main(["speed", "--json", str(tmp_path / "no" / "speed.json")]) == 1
    assert "json: there is no folder" in capsys.readouterr().err
