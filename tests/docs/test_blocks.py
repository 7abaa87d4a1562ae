"""Every block of Python and every command `refinedet` of the README and the documentation, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import refinedet_ext as rx
from refinedet.cli import main

from .pages import PAGES, ROOT, Block, blocks, needs

RUN = ("python", "sh")
SHOWN = ("text", "yaml", "json", "cpp", "bash")
"""Languages of blocks that show something, or are checked as scripts."""


def runs(block: Block) -> bool:
    commands = block.language == "sh" and any(line.startswith("refinedet ") for line in block.lines())
    return block.not_run is None and (block.language == "python" or commands)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_they_are(page):
    unknown = [(block.line, block.language) for block in blocks(page) if block.language not in RUN + SHOWN]
    assert unknown == [], f"{page}: expected blocks of {', '.join(RUN + SHOWN)}"


@pytest.mark.slow
@pytest.mark.timeout(900)  # export.md has seven exports, on a machine that may do other things besides
@pytest.mark.parametrize("page", [page for page in PAGES if any(runs(block) for block in blocks(page))])
def test_blocks_run(page, world, capsys):
    for package in needs(page):
        pytest.importorskip(package, reason=f"{page} needs {package}, which is not installed")
    scope: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for block in blocks(page):
        if block.not_run is not None:
            continue
        if block.file is not None:
            (world / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            empty_lines = "\n" * (block.line - 1)  # so that a traceback names the page's line
            capsys.readouterr()
            exec(compile(empty_lines + block.text, str(ROOT / page), "exec"), scope)
            printed = capsys.readouterr().out
        elif block.language == "text" and block.follows:
            assert printed == block.text, f"{page}:{block.line}: expected what the block above prints"
        elif block.language == "sh":
            run_commands(block, capsys)


def run_commands(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for line in block.lines():
        words = block.words(line)
        if words[0] != "refinedet":
            continue
        try:
            status = main(words[1:])
        except SystemExit as end:  # of --help and --print_config
            status = end.code
        assert status == 0, (block.page, line, capsys.readouterr().err)
        for option, value in zip(words, words[1:], strict=False):
            assert option != "--output" or Path(value).exists(), (block.page, line)


def test_the_start_page_calls_every_op():
    text = "".join(block.text for block in blocks("docs/start/ops.md") if block.language == "python")
    called = set(re.findall(r"\brx\.(\w+)\(", text))
    public = {name for name in rx.__all__ if callable(getattr(rx, name)) and name[0].islower()}
    assert public - {"build_info"} <= called, "an op has no example"
