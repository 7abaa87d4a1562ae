from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from refinedet.cli import main
from refinedet.config_files import CONFIGS, dump_config, find_config, list_configs, load_config


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_differs_replaces_the_bases_values_and_mappings_merge(tmp_path):
    write(tmp_path / "whole.yaml", "model: {name: a, options: {x: 1, y: [1, 2]}}\noptim: {lr: 1e-3}\n")
    file = write(tmp_path / "mine.yaml", "base: whole.yaml\nmodel: {options: {y: [3], z: null}}\noutput: runs/mine\n")
    assert load_config(file) == {
        "model": {"name": "a", "options": {"x": 1, "y": [3], "z": None}},
        "optim": {"lr": 0.001},
        "output": "runs/mine",
    }


def test_a_chain_of_bases_is_relative_to_each_file(tmp_path, monkeypatch):
    write(tmp_path / "a.yml", "model: {name: a}\ntrain: {epochs: 1, seed: 1}\n")
    write(tmp_path / "deep/b.yaml", "base: ../a.yml\ntrain: {epochs: 2}\n")
    file = write(tmp_path / "deep/er/c.yaml", "base: ../b.yaml\ntrain: {seed: 3}\n")
    monkeypatch.chdir("/")
    assert load_config(file) == {"model": {"name": "a"}, "train": {"epochs": 2, "seed": 3}}


def test_a_null_is_a_value_and_without_brings_the_default_back(tmp_path):
    write(
        tmp_path / "a.yaml", "model: {name: a, options: {focal_alpha: 0.5, theta: 1.0}}\ndata: {augment: {steps: []}}\n"
    )
    file = write(
        tmp_path / "b.yaml",
        "base: a.yaml\nwithout: [data.augment, model.options.theta]\nmodel: {options: {focal_alpha: null}}\n",
    )
    assert load_config(file) == {"model": {"name": "a", "options": {"focal_alpha": None}}, "data": {}}


def test_what_was_taken_away_may_come_anew(tmp_path):
    write(tmp_path / "a.yaml", "data: {augment: {steps: [], x: 1}}\n")
    file = write(tmp_path / "b.yaml", "base: a.yaml\nwithout: [data.augment]\ndata: {augment: {y: 2}}\n")
    assert load_config(file) == {"data": {"augment": {"y": 2}}}


def test_a_file_builds_on_a_configuration_that_comes_along_even_under_its_name(tmp_path):
    name = "efgrnet320_vgg16_voc07"
    file = write(tmp_path / f"{name}.yaml", f"base: {name}\noptim: {{lr: 0.002}}\n")
    want = load_config(name)
    want["optim"]["lr"] = 0.002
    assert load_config(file) == want


@pytest.mark.parametrize(
    ("files", "kind", "message"),
    [
        ({"a": "base: a.yaml"}, ValueError, r"base: goes round in a circle, \S+/a.yaml -> \S+/a.yaml"),
        (
            {"a": "base: b.yaml", "b": "base: c.yaml", "c": "base: ./b.yaml"},
            ValueError,
            r"base: goes round in a circle, \S+/a.yaml -> \S+/b.yaml -> \S+/c.yaml -> \S+/b.yaml",
        ),
        ({"a": "base: nowhere.yaml"}, FileNotFoundError, r"base of \S+/a.yaml: no file \S+/nowhere.yaml"),
        (
            {"a": "base: refinedet320"},
            FileNotFoundError,
            r"base of \S+/a.yaml: no file refinedet320, and none of that name comes along; did you mean refinedet320_",
        ),
        (
            {"a": "base: [b.yaml]\n"},
            ValueError,
            r"base: expected a file or the name .* in \S+/a.yaml, got \['b.yaml'\]",
        ),
        ({"a": "base:\n"}, ValueError, r"base: expected a file or the name of .* in \S+/a.yaml, got None"),
        ({"a": "base: b.yaml", "b": "- 1"}, ValueError, r"config: expected keys and values in \S+/b.yaml, got list"),
        ({"a": ""}, ValueError, r"config: expected keys and values in \S+/a.yaml, got NoneType"),
        ({"a": "model: {name: a"}, ValueError, r"config: \S+/a.yaml is not YAML, line 1: "),
        (
            {"a": "without: [model]\nmodel: 1"},
            ValueError,
            "without: expected a base beside it in .*a.yaml, got none",
        ),
        (
            {"a": "base: b.yaml\nwithout: [model.nam]", "b": "model: {name: 1}"},
            ValueError,
            r"without: expected keys that the base of \S+/a.yaml has, got 'model.nam'",
        ),
        (
            {"a": "base: b.yaml\nwithout: [model.name.x]", "b": "model: {name: 1}"},
            ValueError,
            "without: expected keys that the base of .* has, got 'model.name.x'",
        ),
        (
            {"a": "base: b.yaml\nwithout: model", "b": "model: 1"},
            ValueError,
            r"without: expected a list of keys such as data.augment in \S+/a.yaml, got 'model'",
        ),
    ],
)
def test_what_is_wrong_is_named(files, kind, message, tmp_path):
    for name, text in files.items():
        write(tmp_path / f"{name}.yaml", text)
    with pytest.raises(kind, match=re.compile(message, re.DOTALL)):
        load_config(tmp_path / "a.yaml")


def test_an_unknown_name_says_where_those_are_listed_that_come_along():
    with pytest.raises(FileNotFoundError, match="no file nothing, and none of that name comes along; refinedet info"):
        load_config("nothing")


def test_scalars_are_read_as_the_command_line_reads_them_and_written_so_that_they_stay(tmp_path):
    text = "a: 1e-3\nb: 2026-01-01\nc: '1e-3'\nd: '32'\ne: .inf\nf: 1.5\ng: 12\nh: 'null'\ni: true\n"
    content = load_config(write(tmp_path / "a.yaml", text))
    want = {"a": 0.001, "b": "2026-01-01", "c": "1e-3", "d": "32", "e": float("inf"), "f": 1.5, "g": 12}
    assert content == {**want, "h": "null", "i": True}
    assert load_config(write(tmp_path / "b.yaml", dump_config(content))) == content


def test_print_config_shows_all_of_a_run(tmp_path, capsys):
    base = write(tmp_path / "base.yaml", "base: refinedet320_vgg16_voc07\ntrain: {seed: 5}\n")
    file = write(
        tmp_path / "mine.yaml", f"base: {base.name}\noptim: {{lr: 1e-4}}\nmodel: {{options: {{theta: 1.0}}}}\n"
    )
    for arguments in (["--config", str(file)], [f"--config={file}"]):
        with pytest.raises(SystemExit):
            main(["train", *arguments, "--train.seed=6", "--print_config"])
        printed = yaml.safe_load(capsys.readouterr().out)
        assert printed["optim"]["lr"] == 1e-4 and printed["optim"]["milestones"] == [80000, 100000]
        assert printed["model"]["options"] == {"theta": 1.0} and printed["train"]["seed"] == 6
        assert printed["train"]["iterations"] == 120000 and printed["data"]["val"]["split"] == "test"
        assert "base" not in printed


def test_wrong_keys_of_a_file_are_named_on_the_command_line(tmp_path, capsys):
    file = write(tmp_path / "mine.yaml", "base: refinedet320_vgg16_voc07\noptim: {lrr: 1.0}\n")
    assert main(["train", "--config", str(file)]) == 2
    assert "optim.lrr" in capsys.readouterr().err


def test_ablations_are_the_lines_that_differ():
    for name in list_configs():
        if name.startswith("ablations/"):
            own = yaml.safe_load(find_config(name).read_text(encoding="utf-8"))
            assert own["base"] in list_configs() and "data" not in own and "evaluation" not in own
            base = load_config(own["base"])
            for part in ("optim", "train"):
                for key, value in own.get(part, {}).items():
                    assert base[part].get(key) != value, f"{name} says again what its base says: {part}.{key}"


def test_every_configuration_is_packed():
    """setup.py packs configs/**/*.yaml."""
    assert {path.suffix for path in CONFIGS.rglob("*") if path.is_file()} == {".yaml"}
