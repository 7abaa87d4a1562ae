"""Every example is under 80 lines, stands in examples/README.md and has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import EXAMPLES

FILES = sorted(
    path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".cpp", ".h")
)
TESTS = Path(__file__).parent


@pytest.mark.parametrize("name", FILES)
def test_short(name):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) < 80


def test_the_table_lists_them_all_and_nothing_else():
    linked = re.findall(r"\]\(([\w/]+\.(?:py|cpp|h))\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == FILES


@pytest.mark.parametrize("name", FILES)
def test_has_a_test(name):
    """By itself, or as a part of another example."""
    path = EXAMPLES / name
    sources = [*TESTS.glob("test_*.py"), EXAMPLES / "cpp/CMakeLists.txt"]
    named = "".join(source.read_text(encoding="utf-8") for source in sources)
    uses = "".join((EXAMPLES / other).read_text(encoding="utf-8") for other in FILES if other != name)
    assert path.stem in named or f"from {path.stem} import" in uses or f'#include "{path.name}"' in uses
