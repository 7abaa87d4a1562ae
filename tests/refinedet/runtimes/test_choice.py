"""`runtime="auto"`: which runtime it takes, and why."""

from __future__ import annotations

import json
import logging

import pytest

import refinedet
from refinedet.runtimes import trial
from refinedet.runtimes.choice import choose as choose_runtime
from refinedet.runtimes.files import RUNTIMES

ALL = tuple(RUNTIMES)
OPENED: list[tuple[str, str]] = []
TIMES: dict[str, float | Exception] = {}


@pytest.fixture
def installed(monkeypatch):
    def only(*names):
        monkeypatch.setattr("refinedet.runtimes.choice.is_installed", lambda name: name in names)

    return only


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/refinedet-ext/times"


@pytest.fixture
def measured(cache, monkeypatch):
    """Times by runtime in place of those of this machine; what was opened, and how often, is noted."""

    def use(**times):
        OPENED.clear()
        TIMES.clear()
        TIMES.update(times)
        monkeypatch.setattr(trial, "time_of", lambda call: call())
        return OPENED

    return use


def choose(path, **options):
    return choose_runtime(path, pretend_network, **options)


def pretend_network(runtime, optimize):
    OPENED.append((runtime, optimize))
    if isinstance(TIMES[runtime], Exception):
        raise TIMES[runtime]
    return lambda images: TIMES[runtime]


@pytest.mark.parametrize("optimize", ["off", "float32", "auto", "bfloat16"])
@pytest.mark.parametrize("fastest", ALL)
def test_the_fastest_as_measured(optimize, fastest, weights, installed, measured):
    installed(*ALL)
    opened = measured(**{name: 1.5 if name == fastest else 20.0 for name in ALL})
    choice = choose(weights, optimize=optimize, threads=1)
    in_torch = "float32" if optimize == "off" else optimize  # rewritten, as it computes the same
    asked = {"openvino": optimize, "onnxruntime": "float32" if optimize == "auto" else optimize, "torch": in_torch}
    if optimize == "bfloat16":  # which ONNX Runtime does not have on a CPU
        del asked["onnxruntime"]
    assert opened == list(asked.items())
    if fastest in asked:
        assert choice[:2] == (fastest, asked[fastest])
        assert choice.reason.startswith(f"the fastest here: {fastest} 1.5 ms, ")


def test_it_is_measured_once(weights, installed, measured, cache):
    installed(*ALL)
    opened = measured(torch=3.0, onnxruntime=1.0, openvino=2.0)
    first = choose(weights)
    assert len(opened) == 3 and choose(weights) == first and len(opened) == 3
    assert first.reason == "the fastest here: onnxruntime 1 ms, openvino 2 ms, torch 3 ms an image"
    for changed in ({"threads": 2}, {"input_size": 96}, {"options": {"nms": "coco"}}, {"optimize": "auto"}):
        before = len(opened)
        choose(weights, **changed)
        assert len(opened) == before + 3, changed
    for damage in ("{", "[]", "{}", '{"other": 1.0}', '{"torch": null}', '{"torch": NaN}', '{"torch": "fast"}'):
        for file in cache.iterdir():
            file.write_text(damage)
        before = len(opened)
        assert choose(weights) == first and len(opened) == before + 3


def test_one_of_several_processes_measures_nothing(weights, installed, measured, monkeypatch):
    installed(*ALL)
    opened = measured(torch=1.0, onnxruntime=2.0, openvino=3.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    choice = choose(weights)
    assert choice.runtime == "openvino" and "mostly the fastest" in choice.reason and not opened
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert choose(weights).runtime == "torch"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose(weights).runtime == "torch"  # known by now


def test_what_cannot_run_a_model_is_left_out(weights, installed, measured, caplog):
    installed(*ALL)
    measured(torch=5.0, onnxruntime=ImportError("needs onnxscript"), openvino=ValueError("no such operation"))
    with caplog.at_level(logging.WARNING, "refinedet"):
        assert choose(weights)[:2] == ("torch", "float32")
    assert "runtime openvino is left out: no such operation" in caplog.text
    assert "runtime onnxruntime is left out: needs onnxscript" in caplog.text
    caplog.clear()
    measured(torch=ValueError("options"), onnxruntime=ValueError("second"), openvino=ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        choose(weights, threads=3)
    assert not caplog.text  # the error is raised, and said once


def test_a_package_that_is_installed_later_is_noticed(weights, installed, measured, monkeypatch):
    installed(*ALL)
    opened = measured(torch=5.0, onnxruntime=ImportError("needs onnxscript"), openvino=ImportError("needs onnxscript"))
    monkeypatch.setattr(trial, "_version", lambda package: "" if package == "onnxscript" else "1.0")
    assert choose(weights).runtime == "torch" and len(opened) == 3
    assert choose(weights).runtime == "torch" and len(opened) == 3
    monkeypatch.setattr(trial, "_version", lambda package: "1.0")
    measured(torch=5.0, onnxruntime=1.0, openvino=2.0)
    assert choose(weights).runtime == "onnxruntime"


def test_a_cache_that_cannot_be_written(weights, installed, measured, cache, caplog):
    installed(*ALL)
    cache.parent.parent.write_text("a file where the folder is to be")
    opened = measured(torch=5.0, onnxruntime=1.0, openvino=2.0)
    assert choose(weights).runtime == "onnxruntime" and len(opened) == 3
    assert "the times of the runtimes are not kept: " in caplog.text


@pytest.mark.parametrize(
    ("there", "optimize", "wanted"),
    [
        (("torch",), "off", ("torch", "float32")),
        (("torch",), "bfloat16", ("torch", "bfloat16")),
        (("torch", "onnxruntime"), "bfloat16", ("torch", "bfloat16")),
        (("onnxruntime",), "off", ("onnxruntime", "off")),
    ],
)
def test_what_is_there_alone_is_not_measured(there, optimize, wanted, weights, installed, measured):
    installed(*there)
    opened = measured()
    choice = choose(weights, optimize=optimize)
    assert choice[:2] == wanted and choice.reason.startswith("no other") and not opened


def test_of_exported_files(installed, measured, tmp_path):
    for name in ("m.onnx", "m.xml", "m.pt2"):
        (tmp_path / name).touch()
    installed(*ALL)
    measured(torch=1.0, onnxruntime=2.0, openvino=3.0)
    assert [choose(tmp_path / name).runtime for name in ("m.onnx", "m.xml", "m.pt2")] == [
        "onnxruntime",
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


def test_a_real_measurement(weights, cache):
    found = refinedet.Predictor.from_file(weights, runtime="auto", threads=1)
    assert "the fastest here: " in found.about and found.about.count(" ms") == 3
    (file,) = cache.iterdir()
    assert set(json.loads(file.read_text())) == set(ALL)
    again = refinedet.Predictor.from_file(weights, runtime="auto", threads=1)
    assert again.about == found.about
