"""The version stands in `refinedet_ext/__init__.py` and nowhere else; the oldest torch is one wherever it is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import refinedet_ext as rx

ROOT = Path(rx.__file__).parents[1]


def test_the_package_takes_it_from_there():
    command = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == rx.__version__


def test_no_other_file_names_it():
    names = ["pyproject.toml", "setup.py", "CMakeLists.txt"]
    files = [ROOT / name for name in names]
    files += [p for folder in ("csrc", "refinedet_ext", "python") for p in (ROOT / folder).rglob("*.*")]
    texts = {
        p: p.read_text(encoding="utf-8") for p in files if p.suffix in (".py", ".toml", ".txt", ".h", ".cpp", ".cu")
    }
    naming = [p.relative_to(ROOT).as_posix() for p, text in texts.items() if f'"{rx.__version__}"' in text]
    assert naming == ["refinedet_ext/__init__.py"]
    assert "VERSION" not in texts[ROOT / "CMakeLists.txt"].split("project(", 1)[1].split(")", 1)[0]


def test_the_oldest_torch_is_what_the_library_is_built_for():
    texts = {
        name: (ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "CMakeLists.txt", "README.md")
    }
    oldest = rx.build_info()["torch_target"]
    assert set(re.findall(r'"torch>=([^"]+)"', texts["pyproject.toml"])) == {oldest}
    assert f"torch_version VERSION_LESS {oldest})" in texts["CMakeLists.txt"]
    assert f"every torch from {oldest} on" in texts["README.md"]
    major, minor = map(int, oldest.split("."))
    for name in ("CMakeLists.txt", "tests/cuda_on_host/CMakeLists.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert f"TORCH_TARGET_VERSION=0x{major:02x}{minor:02x}000000000000" in text


def test_the_changelog_has_a_section_for_it():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", text, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == rx.__version__
    for version, day in sections[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", day) or (version == rx.__version__ and day == "unreleased")
