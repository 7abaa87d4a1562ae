"""Commands in the README and the documentation are ones that there are, with options that they have: those that are
run (test_blocks.py), and those that a test cannot run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.__main__ import parse as parse_benchmarks
from benchmarks.study.__main__ import STUDIES
from refinedet.cli.parser import COMMANDS, build_parser, option_names

from .pages import PAGES, ROOT, Block, blocks

LINES = [
    pytest.param(block, line, id=f"{page}:{block.line}: {line[:60]}")
    for page in PAGES
    for block in blocks(page)
    if block.language == "sh"
    for line in block.lines()
]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
EXTRAS = set(
    re.findall(r"^(\w+) = ", PYPROJECT.partition("[project.optional-dependencies]")[2].partition("\n[")[0], re.M)
)
OTHERS = ("curl", "docker")
"""Other people's programs: their options are not ours to check."""


def check_refinedet(words: list[str]) -> None:
    command, *rest = words
    assert command in COMMANDS
    names = option_names(build_parser(command))
    options = [word.removeprefix("--").partition("=")[0] for word in rest if word.startswith("--")]
    known = {"config", "print_config", "import", "help"}
    assert [option for option in options if option not in known and names.find(option) is None] == []


def check_script(script: str, words: list[str], *shared: str) -> None:
    """shared: other files that give it options."""
    source = "".join((ROOT / file).read_text(encoding="utf-8") for file in (script, *shared))
    options = [word for word in words if word.startswith("--") and word != "--help"]
    assert [word for word in options if f'"{word}"' not in source] == []


def check_module(module: str, words: list[str]) -> None:
    if module == "refinedet.cli":
        check_refinedet(words)
    elif module == "benchmarks":
        parse_benchmarks(words)
    elif module == "benchmarks.study" and not words[0].startswith("--"):
        study, *options = words
        assert study in STUDIES
        check_script(f"benchmarks/study/{study}.py", options, "benchmarks/study/command.py")
    else:
        path = Path(*module.split("."))
        check_script(str(path / "__main__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")), words)


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        check_module(words[1], words[2:])
    else:
        check_script(words[0], words[1:])


def check_pip(words: list[str]) -> None:
    assert words[0] == "install"
    for word in words[1:]:
        extras = re.fullmatch(r"(?:refinedet-ext|\.)\[(.+)\]", word)
        assert extras is None or set(extras.group(1).split(",")) <= EXTRAS, word


@pytest.mark.parametrize(("block", "line"), LINES)
def test_command_exists(block: Block, line: str):
    program, *words = block.words(line)
    if program == "refinedet":
        check_refinedet(words)
    elif program == "torchrun":
        check_module("refinedet.cli", words[words.index("refinedet.cli") + 1 :])
    elif program == "python":
        check_python(words)
    elif program == "pip":
        check_pip(words)
    elif program == "make":
        assert set(words) <= TARGETS
    else:
        assert program in OTHERS, f"{block.page}: no way is known to check {program}"


@pytest.mark.parametrize("block", [block for page in PAGES for block in blocks(page) if block.language == "bash"])
def test_scripts_are_scripts(block: Block):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


def test_every_command_is_listed():
    listed = (ROOT / "docs/reference/command_line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^```\{command-options\} (\w+)$", listed, re.M)) == set(COMMANDS)
