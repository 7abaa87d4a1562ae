"""The commands in docs/many_machines.md are ones that there are. What they do is tested where they are."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from refinedet.cli.parser import COMMANDS, build_parser, option_names

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/many_machines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash)?\n(.*?)```", PAGE, re.S)
LINES = [line for _, block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]
OURS = [line for line in LINES if "refinedet.cli " in line]


@pytest.mark.parametrize("line", OURS)
def test_options_of_a_command(line):
    command, *words = shlex.split(line.partition("refinedet.cli ")[2])
    assert command in COMMANDS
    names = option_names(build_parser(command))
    options = [word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")]
    assert [option for option in options if names.find(option) is None] == []


@pytest.mark.parametrize("line", [line for line in LINES if re.search(r"python examples/", line)])
def test_options_of_an_example(line):
    script, *words = shlex.split(line.partition("python ")[2])
    source = (ROOT / script).read_text(encoding="utf-8")
    assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []


def test_the_job_of_slurm_is_a_script():
    (script,) = [block for kind, block in BLOCKS if kind == "bash"]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert "--rdzv-endpoint" in script


def test_there_are_commands():
    assert len(OURS) >= 7
