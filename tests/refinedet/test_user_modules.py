"""Models of the user's own: `--import`, `imports:`, and files of such models without their module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import refinedet
from refinedet.data.synthetic import render_dataset
from refinedet.user_modules import import_user_module

MODULE = """
from refinedet import register_model
from refinedet.registry import model_entry

small = model_entry("refinedet192_small")

@register_model("my_detector", small.config.with_options(input_size=64, tcb_channels=16), "mine")
def build(config, num_classes):
    return small.build(config, num_classes)
"""


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    source = [str(Path(refinedet.__file__).parents[1]), str(Path(refinedet.__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*source, os.environ.get("PYTHONPATH", "")])}
    # as the script that pip installs, to which the current folder is not on the path
    code = "import sys; sys.path = [p for p in sys.path if p]; from refinedet.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd, env=environment
    )


@pytest.mark.parametrize("by_file", [False, True])
def test_a_model_of_ones_own_from_training_to_prediction(tmp_path, by_file):
    render_dataset(tmp_path / "data", train=4, test=2, size=96, seed=1)
    folder = tmp_path / "code" if by_file else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "my_models.py").write_text(MODULE)
    module = "code/my_models.py" if by_file else "my_models"
    options = "--data.root data --data.workers 0 --data.batch_size 2 --train.iterations 2 --train.accelerator cpu"
    for part, name in (("train", "train"), ("val", "test")):
        options += f" --data.{part}.image_dir {name} --data.{part}.annotation_file annotations/{name}.json"
    trained = command(
        *("train", "--import", module, "--model.name", "my_detector", *options.split(), "--output", "run"), cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    [imported] = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["imports"]
    assert Path(imported).name == Path(module).name

    without = command("predict", "--weights", "run/best.safetensors", "data/test", cwd=tmp_path)
    assert without.returncode == 1
    assert "holds a my_detector, which is not among the models here; the module my_models registered" in without.stderr
    predict = ("predict", "--weights", "run/best.safetensors", "--output", "drawn", "data/test")
    assert command(*predict, f"--import={module}", cwd=tmp_path).returncode == 0
    measured = command("eval", "--config", "run/config.yaml", "--output", "measured", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no_such_module", None, "import: no module 'no_such_module', neither installed nor in "),
        ("no_such_folder/module.py", None, "import: no file no_such_folder/module.py"),
        ("", None, "import: expected the name of a module or its file, got nothing"),
        ("broken.py", "1 / 0", "import: broken.py cannot be imported: ZeroDivisionError: division by zero"),
        ("broken", "1 / 0", "import: broken cannot be imported: ZeroDivisionError: division by zero"),
        ("lacking", "import no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_mod"),
        ("yaml.py", "", "import: yaml.py has the name of a module that is loaded already"),
    ],
)
def test_what_cannot_be_imported_is_named(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    if text is not None:
        Path(name).with_suffix(".py").write_text(text)
    with pytest.raises(ImportError) as caught:
        import_user_module(name)
    assert message in str(caught.value)
    assert "broken" not in sys.modules and "lacking" not in sys.modules


def test_a_module_is_imported_once_and_installed_ones_go_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("once_only.py").write_text("values = []")
    Path("json.py").write_text("raise SystemExit('the file in the current folder')")
    assert import_user_module("once_only") is import_user_module("once_only") is import_user_module("./once_only.py")
    assert import_user_module("json").__name__ == "json" and sys.path[-1] == str(tmp_path)
    del sys.modules["once_only"]


def test_a_model_file_says_which_module_registered_its_model(tmp_path):
    from refinedet.detectors.registration import ENTRIES
    from refinedet.weights import load_model, save_model

    entry = refinedet.model_entry("refinedet192_small")

    @refinedet.register_model("of_this_test", entry.config.with_options(input_size=64, tcb_channels=16))
    def build(config, num_classes):
        return entry.build(config, num_classes)

    try:
        file = save_model(refinedet.create_model("of_this_test", 4), tmp_path / "m.safetensors")
        assert load_model(file).model.spec.name == "of_this_test"
    finally:
        del ENTRIES["of_this_test"]
    with pytest.raises(ValueError, match=f"the module {__name__} registered it"):
        load_model(file)
