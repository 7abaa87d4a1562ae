"""The paths that README.md, CONTRIBUTING.md and the pages on the design name exist, those of every op included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import refinedet_ext as rx

ROOT = Path(__file__).parents[2]
DESIGN = sorted((ROOT / "docs/design").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/design/{path.name}" for path in DESIGN))
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"runs"}  # what commands leave there comes and goes
KINDS = ("py", "h", "cpp", "cu", "md", "toml", "txt", "yaml", "sh")
PLACEHOLDER = r"<(op|family)>"


def ops_of(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} & set(rx.__all__)


# Every op and its family, as the tests are sorted; the NumPy face has the box ops only.
OPS = ops_of("refinedet_ext/ops")
NUMPY_OPS = ops_of("refinedet_ext/numpy")
FAMILIES = {
    path.stem.removeprefix("test_"): path.parent.name for path in (ROOT / "tests/refinedet_ext/ops").glob("*/test_*.py")
}


def named(page: str) -> set[str]:
    """What stands in backticks and looks like a path of the project, or like a file's name."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
    words = {word for span in re.findall(r"`([^`]+)`", text) for word in span.split()}
    paths = {word for word in words if "/" in word and word.split("/")[0] in FOLDERS}
    files = {word for word in words if re.fullmatch(rf"[\w<>*]+\.({'|'.join(KINDS)})", word)}
    return paths | files


def expanded(path: str) -> list[str]:
    """For all ops, where it has a placeholder."""
    if not re.search(PLACEHOLDER, path):
        return [path]
    ops = NUMPY_OPS if "numpy" in Path(path).parts else OPS
    return sorted({path.replace("<op>", op).replace("<family>", FAMILIES[op]) for op in ops})


def exists(path: str) -> bool:
    return any(ROOT.glob(path)) or ("/" not in path and any(ROOT.glob(f"[!.]*/**/{path}")))


@pytest.mark.parametrize(("page", "path"), [(page, path) for page in PAGES for path in sorted(named(page))])
def test_named_path_exists(page, path):
    missing = [one for one in expanded(path) if not exists(one)]
    assert missing == [], f"{page} names {path}"


def test_the_pages_name_paths_of_ops():
    assert any("<op>" in path for path in named("docs/design/architecture.md")) and len(OPS) > 10
    assert expanded("csrc/torch/<op>.cpp") == [f"csrc/torch/{op}.cpp" for op in sorted(OPS)]
    assert not exists("csrc/torch/no_such_op.cpp")
