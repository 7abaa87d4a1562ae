"""docs/tutorials: what they say of files and lengths is so."""

from __future__ import annotations

import re
from pathlib import Path

from .pages import blocks

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs/tutorials"


def test_new_op_walks_through_all_nine_files():
    text = (TUTORIALS / "new_op.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## .*\d\. .+$", text, re.M)
    named = {path for heading in headings for path in re.findall(r"`([^`]+)`", heading)}
    folders = ("csrc", "refinedet_ext", "tests", "benchmarks")
    files = {path for folder in folders for path in (ROOT / folder).rglob("*decode_boxes.*") if path.suffix != ".pyc"}
    assert named == {path.relative_to(ROOT).as_posix() for path in files} and len(named) == 9


def test_new_op_names_paths_that_exist():
    text = re.sub("```.*?```", "", (TUTORIALS / "new_op.md").read_text(encoding="utf-8"), flags=re.S)
    paths = set(re.findall(r"`([\w./]+/[\w./]*)`", text))
    assert len(paths) > 12 and [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_new_backbone_is_as_short_as_it_says():
    (module,) = [block.text for block in blocks("docs/tutorials/backbone.md") if block.file]
    lines = [line for line in module.splitlines() if line.strip()]
    assert len(lines) <= 50, len(lines)
