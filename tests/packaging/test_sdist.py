"""The source distribution: all that a build needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import refinedet_ext as rx

ROOT = Path(rx.__file__).parents[1]
FOLDERS = ("csrc", "refinedet_ext", "python/refinedet")
FILES = ("CMakeLists.txt", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
MADE = ("PKG-INFO", "setup.cfg")


def test_holds_the_sources_and_nothing_else(tmp_path):
    listed = subprocess.run(["git", "ls-files", "-z", *FOLDERS, *FILES], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a clone")
    expected = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), "sdist", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {member.name.split("/", 1)[1] for member in content if member.isfile()}
    found = {name for name in names if not name.startswith("refinedet_ext.egg-info/")} - set(MADE)
    assert archive.name == f"refinedet_ext-{rx.__version__}.tar.gz"
    assert sorted(found - expected) == [] and sorted(expected - found) == []
