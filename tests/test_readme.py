"""The README's examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import refinedet

README = Path(__file__).parents[1] / "README.md"


def test_example_of_every_op_runs():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    ops = next(block for block in blocks if "rx.match_anchors" in block)
    scope: dict[str, object] = {}
    exec(compile(ops, str(README), "exec"), scope)
    import refinedet_ext as rx

    called = set(re.findall(r"rx\.(\w+)\(", ops))
    public = {name for name in rx.__all__ if callable(getattr(rx, name)) and name[0].islower()}
    assert public - {"build_info"} <= called, "an op has no example"


def test_model_table_is_true():
    text = README.read_text(encoding="utf-8")
    for name, parameters in (("refinedet320_vgg16", 34_440_884), ("refinedet256_small", 2_673_024)):
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line)
        model = refinedet.create_model(name)
        assert f"{parameters:,}" in row
        assert sum(p.numel() for p in model.parameters()) == parameters
