"""Where tools are looked for, and what is taken of libraries that were built before."""

from __future__ import annotations

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import refinedet_ext as rx
from benchmarks.gpu import course, libraries
from benchmarks.gpu.libraries import SOURCES, TORCH_OPS
from benchmarks.gpu.processes import ROOT, environment


def make_tool(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No tool anywhere: neither packages nor folders nor PATH."""
    real = builtins.__import__

    def without(name, *rest):
        if name in ("cmake", "ninja"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(libraries, "tool_folders", lambda: [tmp_path / "folder"])
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


@pytest.mark.usefixtures("bare")
def test_tools_are_found_in_folders_before_path(tmp_path):
    assert libraries.missing_tools() == ["cmake", "ninja", "nvcc"]
    on_path = make_tool(tmp_path / "path", "nvcc")
    assert libraries.find_tool("nvcc") == on_path
    assert libraries.find_tool("nvcc") == on_path and libraries.missing_tools() == ["cmake", "ninja"]
    assert make_tool(tmp_path / "folder", "nvcc") == libraries.find_tool("nvcc")


def test_the_folders(monkeypatch):
    monkeypatch.setenv("BIN", "/some/bin")
    monkeypatch.setenv("CUDA_HOME", "/some/cuda")
    folders = libraries.tool_folders()
    assert folders == [
        Path(sys.executable).parent,
        Path("/some/bin"),
        Path("/some/cuda/bin"),
        Path("/usr/local/cuda/bin"),
    ]


def prebuilt(folder, sources):
    folder.mkdir()
    for name in (TORCH_OPS, "_numpy_ops.cpython-312-x86_64-linux-gnu.so"):
        (folder / name).write_text("new")
    (folder / SOURCES).write_text(sources)
    return folder


def test_prebuilt_libraries_are_copied(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(libraries, "PACKAGE", package)
    (package / TORCH_OPS).write_text("old")
    mapped = (package / TORCH_OPS).open()
    assert libraries.take(prebuilt(tmp_path / "good", libraries.sources()))[1] == TORCH_OPS
    assert (package / TORCH_OPS).read_text() == "new" and mapped.read() == "old"
    mapped.close()
    with pytest.raises(ValueError, match="built from other sources than these"):
        libraries.take(prebuilt(tmp_path / "stale", "of another commit"))
    with pytest.raises(ValueError, match=re.escape(f"expected {TORCH_OPS} and {SOURCES} in")):
        libraries.take(tmp_path)


def test_the_sources_that_count():
    assert len(libraries.sources()) == 64 and libraries.sources() == libraries.sources()


def test_what_is_here_is_checked():
    if not rx.build_info()["cuda"]:
        with pytest.raises(RuntimeError, match="no CUDA kernels for"):
            libraries.check()
    else:
        assert libraries.check().startswith("torch ") and "takes the ops built with" in libraries.check()


def test_an_op_without_a_cuda_kernel_is_named(monkeypatch):
    monkeypatch.setattr(rx, "build_info", lambda: {"cuda": True})
    monkeypatch.setattr("torch._C._dispatch_has_kernel_for_dispatch_key", lambda name, key: not name.endswith("::nms"))
    with pytest.raises(RuntimeError, match="no CUDA kernels for nms$"):
        libraries.check()


BARE = """
import re, sys
from importlib import metadata

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)

wanted = [re.match("[A-Za-z0-9_-]+", line)[0] for line in open("requirements-dev.txt") if line[0].isalpha()]
given = {"torch", "numpy", "pytest", "pybind11", "cmake", "ninja", "setuptools", *sys.argv[1].split()}
names = {"opencv-python-headless": "cv2", "pillow": "PIL", "pytest-xdist": "xdist", "pyyaml": "yaml"}
absent = {names.get(name, name.replace("-", "_")) for name in [*wanted, "pyyaml", "tqdm"] if name not in given}
sys.meta_path[:] = map(Without, sys.meta_path)
import pytest
from benchmarks.gpu.network_cases import NETWORKS, model_of
for name, *_ in NETWORKS:
    model_of(name)
sys.exit(pytest.main(["-q", "-m", "cuda", "-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider",
                      "--collect-only", *sys.argv[2:]]))
"""


def test_a_machine_with_torch_and_pytest_is_enough():
    """Neither the networks nor the tests need more of what the project is developed with than is brought."""
    command = [sys.executable, "-c", BARE, " ".join(libraries.BESIDES_PYTEST), *course.TESTS]
    settings = {**os.environ, **environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("path", course.TESTS)
def test_the_tests_that_are_run_are_there(path):
    assert (ROOT / path).exists()


def test_kernels_have_the_names_that_the_sanitizer_looks_for():
    """That of every .cu file stands in namespace refinedet::cuda, which begins the mangled name."""
    assert course.KERNELS == "kns=_ZN9refinedet4cuda"
    for path in (ROOT / "csrc/cuda").rglob("*.cu"):
        assert "namespace refinedet::cuda {" in path.read_text(), path
