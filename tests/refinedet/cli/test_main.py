"""The command as a process: what it imports, shows and exits with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from refinedet.cli import NEEDED, NEEDED_BY
from refinedet.cli.parser import COMMANDS, build_parser
from refinedet.extras import REQUIREMENTS, install_command

SLOW = ("torch", "lightning", "cv2", "numpy", "matplotlib", "pycocotools")
LOADED = f"""
import sys
from refinedet.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as done:
    status = done.code
loaded = [name for name in {SLOW!r} if name in sys.modules]
print(loaded, file=sys.stderr)
sys.exit(status)
"""


def command(*arguments: str, code: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    start = ["-m", "refinedet.cli"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        ([], 2),
        (["train", "--help"], 0),
        (["predict", "--help"], 0),
        (["convert", "--help"], 0),
        (["train", "--config", "refinedet320_vgg16_voc07", "--optim.lr", "0.1", "--print_config"], 0),
        (["train", "--optim.lr", "much"], 2),
        (["fly"], 2),
    ],
)
def test_help_and_errors_import_nothing_slow(arguments, status):
    done = command(*arguments, code=LOADED)
    assert done.returncode == status, done.stderr
    assert done.stderr.strip().split("\n")[-1] == "[]"


def test_without_a_command_its_help_is_shown_on_stderr():
    done = command()
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("usage: refinedet")
    assert all(f"\n    {name} " in done.stderr for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name, capsys):
    with pytest.raises(SystemExit):
        build_parser(name).parse_args(["--help"])
    text = capsys.readouterr().out.partition("\noptions:")[2]
    for action in build_parser(name)._actions:
        told = re.sub(r"\((required, )?type: .*", "", str(action.help or ""), flags=re.S).strip()
        assert told, f"refinedet {name}: {action.option_strings or action.dest} has no help"
        if action.option_strings:
            assert action.option_strings[-1] in text


def test_the_exit_status_tells_whose_fault_it_is():
    wrong, failed = command("info", "--nam", "x"), command("info", "refinedet1_vgg16")
    assert (wrong.returncode, failed.returncode) == (2, 1)
    for done in (wrong, failed):
        assert done.stderr.startswith("refinedet: error: ") and done.stderr.count("\n") == 1
    raised = command("info", "refinedet1_vgg16", REFINEDET_TRACEBACK="1")
    assert raised.returncode == 1 and "Traceback" in raised.stderr


@pytest.mark.parametrize(
    ("name", "option", "words"),
    [
        ("train", "--data.augment.foo=3", "data.augment.foo: no such option; there are "),
        ("train", "--data.augment.flip_probability=2", "data.augment.flip_probability: expected "),
        ("train", "--model.options.foo=3", "model.options: refinedet320_vgg16 has no option 'foo'; "),
        ("train", "--model.name=refinedet1", "model.name: no model 'refinedet1'; "),
        ("find_lr", "--model.options.foo=3", "model.options: refinedet320_vgg16 has no option 'foo'; "),
        ("pretrain", "--model.name=refinedet1", "model.name: no model 'refinedet1'; "),
    ],
)
def test_options_that_there_are_not_are_a_wrong_command(name, option, words, tmp_path):
    root = "--data.root"
    done = command(name, root, str(tmp_path), option)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"refinedet: error: {words}"), done.stderr


def test_requirements_are_those_of_the_package():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    content = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = content["project"]["optional-dependencies"]
    named = {"train", "export", "onnxruntime", "openvino", "int8"}
    assert sorted(REQUIREMENTS.values()) == sorted({line for extra in named for line in extras[extra]})
    assert {*NEEDED, *(name for needed in NEEDED_BY.values() for name in needed)} <= set(REQUIREMENTS)
    assert install_command("cv2", "lightning") == (
        "pip install 'opencv-python-headless>=4.8' 'lightning>=2.4,!=2.6.2,!=2.6.3'"
    )
