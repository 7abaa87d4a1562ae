"""The README's examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import refinedet
from refinedet.cli import main

README = Path(__file__).parents[2] / "README.md"


def test_example_of_every_op_runs():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    ops = next(block for block in blocks if "rx.match_anchors" in block)
    scope: dict[str, object] = {}
    exec(compile(ops, str(README), "exec"), scope)
    import refinedet_ext as rx

    called = set(re.findall(r"rx\.(\w+)\(", ops))
    public = {name for name in rx.__all__ if callable(getattr(rx, name)) and name[0].islower()}
    assert public - {"build_info"} <= called, "an op has no example"


def test_model_table_is_what_the_command_prints(capsys):
    assert main(["info", "--table", "true"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.count("\n| `") == len(refinedet.list_models())
    assert printed in README.read_text(encoding="utf-8"), "the README's table is not what `refinedet info` prints"
