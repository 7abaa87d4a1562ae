"""docs/ops: a page for each op, with its drawing, signature, an example that prints what it shows, and its speed."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import refinedet_ext as rx

from .pages import blocks

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/ops"
SCRIPTS = ROOT / "docs/scripts"
OP_PAGES = sorted(path.stem for path in PAGES.glob("*.md") if path.stem not in ("index", "replace"))
OPS = {name for name in rx.__all__ if callable(getattr(rx, name)) and name[0].islower()} - {"build_info"}


def text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def title_ops(name: str) -> list[str]:
    return re.findall(r"`(\w+)`", text(name).splitlines()[0])


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_op_has_one_page_that_the_index_links():
    assert sorted(op for name in OP_PAGES for op in title_ops(name)) == sorted(OPS)
    index = text("index")
    for name in OP_PAGES:
        assert f"[{', '.join(f'`{op}`' for op in title_ops(name))}]({name}.md)" in index


@pytest.mark.parametrize("name", OP_PAGES)
def test_signature(name):
    shown = next(block.text for block in blocks(f"docs/ops/{name}.md") if block.language == "text")
    assert shown.split() == " ".join(map(signature, title_ops(name))).split()


def signature(op: str) -> str:
    """Names and defaults; the types stand in the reference."""
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(getattr(rx, op)).parameters.values()]
    return op + str(inspect.Signature(parameters)).replace("'", '"')


@pytest.mark.parametrize("name", OP_PAGES)
def test_example_shows_what_it_prints(name):
    """That it is what it prints is for test_blocks.py."""
    found = [block for block in blocks(f"docs/ops/{name}.md") if block.not_run is None]
    assert any(one.language == "python" and two.language == "text" and two.follows for one, two in pairwise(found))


def test_functions_with_the_arguments_of_mmcv():
    page: dict[str, Any] = {}
    (block,) = [block for block in blocks("docs/ops/replace.md") if "\ndef modulated_deform_conv2d" in block.text]
    exec(compile(block.text, "replace.md", "exec"), page)
    image, weight, offset = torch.rand(2, 4, 6, 5), torch.rand(6, 2, 3, 3), torch.randn(2, 36, 6, 5)
    mask, bias = torch.rand(2, 18, 6, 5), torch.rand(6)
    first = page["deform_conv2d"](image, offset, weight, 1, 1, 1, 2, 2, False, 32)
    torch.testing.assert_close(first, rx.reference.deform_align(image, offset, weight, padding=1))
    second = page["modulated_deform_conv2d"](image, offset, mask, weight, bias, (1, 1), (1, 1), (1, 1), 2, 2)
    torch.testing.assert_close(second, rx.reference.deform_align(image, offset, weight, bias, padding=1, mask=mask))


def test_speed_rows_are_those_of_the_committed_run():
    speed_rows = script("speed_rows")
    run = speed_rows.RUN.read_text(encoding="utf-8")
    for name in OP_PAGES:
        assert "<!-- speed\n" in text(name)
        assert speed_rows.filled(text(name), run) == text(name), "python docs/scripts/speed_rows.py writes them"


def test_a_row_that_was_not_measured_is_an_error():
    with pytest.raises(KeyError, match="no such case"):
        script("speed_rows").filled("<!-- speed\nnms | no such case\n-->\n<!-- end of speed -->", "nothing")


@pytest.mark.parametrize("name", OP_PAGES)
def test_page_shows_its_drawing(name):
    assert f"](drawings/{name}.svg)" in text(name)


def test_drawings_are_those_of_the_script(tmp_path):
    command = [sys.executable, str(SCRIPTS / "draw_ops"), str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=200)
    drawn = sorted(tmp_path.iterdir())
    assert [path.name for path in drawn] == sorted(path.name for path in (PAGES / "drawings").iterdir())
    assert [path.stem for path in drawn] == OP_PAGES
    for path in drawn:
        committed = (PAGES / "drawings" / path.name).read_text(encoding="utf-8")
        assert len(committed) < 100_000
        words, numbers = parts(path.read_text(encoding="utf-8"))
        expected_words, expected_numbers = parts(committed)
        if words[:1] == expected_words[:1]:  # of one version of Matplotlib
            assert words == expected_words, f"{path.name}: python docs/scripts/draw_ops draws it"
            assert numbers == pytest.approx(expected_numbers, abs=0.01)


def parts(svg: str) -> tuple[list[str], list[float]]:
    """Matplotlib's version and what is no number, and the numbers; without the names of shapes, which are hashes."""
    number = r"-?\d+\.?\d*(?:e-?\d+)?"
    version = re.findall(r"Matplotlib v([\d.]+)", svg)
    body = re.sub(r'(id="|url\(#|href="#)[^")]*', r"\1", svg[svg.index("</metadata>") :])
    return version + re.split(number, body), [float(value) for value in re.findall(number, body)]
