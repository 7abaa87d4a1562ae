"""The table of models is what the command prints."""

from __future__ import annotations

from pathlib import Path

import refinedet
from refinedet.cli import main

PAGE = Path(__file__).parents[2] / "docs/detectors/models.md"


def test_model_table_is_what_the_command_prints(capsys):
    assert main(["info", "--table", "true"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.count("\n| `") == len(refinedet.list_models())
    assert printed in PAGE.read_text(encoding="utf-8"), "the page's table is not what `refinedet info` prints"
