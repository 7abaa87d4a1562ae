"""Model files as ONNX graphs: converted once, found again, and noticed when they were cut."""

from __future__ import annotations

import json
import logging

import pytest

import refinedet
from refinedet.runtimes import converted as module
from refinedet.runtimes.converted import cache_folder, converted

from .conftest import needs


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """In the place of the export: writes its options; and the list of its calls."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    def export(weights, graph, input_size, options):
        made.append((weights, input_size, dict(options)))
        graph.write_text(json.dumps([input_size, dict(options)]))

    monkeypatch.setattr("refinedet.runtimes.converted._convert", export)
    return made


def test_a_file_is_converted_once(weights, calls, tmp_path):
    first = converted(weights, options={})
    assert first.is_relative_to(tmp_path / "cache" / "refinedet-ext") and first.name == "model.onnx"
    again = tmp_path / "renamed.safetensors"
    again.write_bytes(weights.read_bytes())
    assert converted(again, options={}) == converted(weights, options={}) == first and len(calls) == 1
    assert sorted(path.name for path in cache_folder().iterdir()) == [first.parent.name]  # no partial ones


def test_content_options_size_and_version_make_another(weights, calls, small, tmp_path, monkeypatch):
    seen = {converted(weights, options={})}
    other = refinedet.save_model(small, tmp_path / "other.safetensors", class_names=["a", "b", "c"])
    for file, size, options in ((weights, 128, {}), (weights, None, {"theta": 0.5}), (other, None, {})):
        seen.add(converted(file, input_size=size, options=options))
    monkeypatch.setattr("refinedet.runtimes.converted.__version__", "99")
    seen.add(converted(weights, options={}))
    assert len(seen) == len(calls) == 5


@pytest.mark.parametrize("damage", ["cut", "changed", "no digest", "no graph"])
def test_a_damaged_conversion_is_noticed(damage, weights, calls, caplog):
    graph = converted(weights, options={})
    whole = graph.read_bytes()
    if damage == "cut":
        graph.write_bytes(whole[:-1])
    elif damage == "changed":
        graph.write_bytes(whole[:-1] + b"x")
    else:
        (graph if damage == "no graph" else graph.with_name("sha256")).unlink()
    with caplog.at_level(logging.WARNING):
        assert converted(weights, options={}).read_bytes() == whole
    assert len(calls) == 2 and "is not as it was written" in caplog.text


def test_nothing_stays_where_the_conversion_fails(weights, calls, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("refinedet.runtimes.converted._convert", fail)
    with pytest.raises(OSError, match="disk full"):
        converted(weights, options={})
    assert list(cache_folder().iterdir()) == []


def test_another_process_may_be_quicker(weights, calls, monkeypatch):
    export = module._convert

    def both(weights, graph, input_size, options):
        export(weights, graph, input_size, options)
        with monkeypatch.context() as patch:
            patch.setattr("refinedet.runtimes.converted._convert", export)
            converted(weights, input_size=input_size, options=options)  # the other one

    monkeypatch.setattr("refinedet.runtimes.converted._convert", both)
    assert converted(weights, options={}).is_file()
    assert len(calls) == 2 and len(list(cache_folder().iterdir())) == 1


def test_the_cache_folder_follows_the_rules_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "refinedet-ext"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, say the rules
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "refinedet-ext"


def test_what_onnx_cannot_say_names_the_runtime_that_can(weights, tmp_path, monkeypatch):
    needs("onnx", "onnxscript", "onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(*arguments, **options):
        raise NotImplementedError("center: ONNX export takes one offset group, got 2")

    monkeypatch.setattr("refinedet.export.export_onnx", refuse)
    with pytest.raises(ValueError, match=r"safetensors cannot be written as ONNX: center.*runtime torch runs it"):
        converted(weights, options={})
