"""The compiled libraries: what they ask of the process that loads them, and what happens without them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import refinedet_ext as rx
from refinedet_ext import _library

ROOT = Path(rx.__file__).parent


def symbols(*arguments: str) -> list[str]:
    if shutil.which("nm") is None:
        pytest.skip("binutils (nm) is not installed")
    text = subprocess.run(["nm", "-D", *arguments], check=True, capture_output=True, text=True).stdout
    return [line.split()[-1].split("@")[0] for line in text.splitlines() if line.strip()]


def run(code: str, folder: Path = ROOT.parent, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own that finds `refinedet_ext` in `folder` before anywhere else."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env={**os.environ, **environment},
    )


def test_torch_library_uses_only_the_stable_abi():
    """No symbol of Python, ATen, c10 or torch's C++: only the C functions of the stable ABI."""
    undefined = symbols("--undefined-only", str(_library.PATH))
    assert any(name.startswith("aoti_torch_") for name in undefined), "the list looks empty"
    unstable = [n for n in undefined if re.match(r"_?Py[A-Z_]|_ZNK?(2at|3c10|5torch)|_ZT[VIS]N?(2at|3c10|5torch)", n)]
    assert unstable == []


def test_torch_library_asks_only_for_functions_of_torch_2_11():
    """Newer functions would keep the library from loading there; the headers leave them out for this target."""
    newer = {"torch_library_def_with_tags", "torch_library_set_python_module", "torch_stream_native_handle"}
    assert newer.isdisjoint(symbols("--undefined-only", str(_library.PATH)))
    assert rx.build_info()["torch_target"] == "2.11"


def test_libraries_export_only_what_is_called_by_name():
    exported = symbols("--defined-only", str(_library.PATH))
    ours = [name for name in exported if "refinedet" in name]
    assert sorted(ours) == ["refinedet_ext_compiler", "refinedet_ext_torch_built_with", "refinedet_ext_torch_target"]


def test_torch_library_has_no_run_path():
    if shutil.which("readelf") is None:
        pytest.skip("binutils (readelf) is not installed")
    dynamic = subprocess.run(["readelf", "-d", str(_library.PATH)], check=True, capture_output=True, text=True).stdout
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic


def test_numpy_face_works_without_torch_in_the_process():
    done = run(
        "import sys; sys.modules['torch'] = None\n"
        "import refinedet_ext as rx, refinedet_ext.numpy as rxn\n"
        "print(rxn.decode_boxes([[0.0] * 4], [[0.0, 0.0, 2.0, 4.0]]).tolist())\n"
        "try: rx.decode_boxes\n"
        "except ImportError as error: print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "[[0.0, 0.0, 2.0, 4.0]]"
    assert "needs torch 2.11 or newer" in second and "refinedet_ext.numpy" in second


def test_package_without_its_libraries_imports_and_says_how_to_build_them(tmp_path):
    shutil.copytree(ROOT, tmp_path / "refinedet_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = run(
        "import sys; sys.modules['refinedet_ext._numpy_ops'] = None\n"  # an editable install finds it from anywhere
        "import torch, refinedet_ext as rx, refinedet_ext.numpy as rxn\n"
        "assert rx.build_info()['torch_ops'] is False\n"
        "for face, box in ((rx, torch.zeros(1, 4)), (rxn, [[0.0] * 4])):\n"
        "    try: face.decode_boxes(box, box)\n"
        "    except ImportError as error: print(error)\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    torch_error, numpy_error = done.stdout.splitlines()
    assert "without its torch ops" in torch_error and "pip install --no-build-isolation" in torch_error
    assert "without its NumPy module" in numpy_error and "pybind11" in numpy_error


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_cpu_level_can_be_forced(level):
    done = run(
        "import refinedet_ext as rx, torch\n"
        "print(rx.build_info()['cpu_level'])\n"
        "print(float(rx.decode_boxes(torch.zeros(9, 4), torch.ones(9, 4)).sum()))\n",
        REFINEDET_EXT_CPU_LEVEL=level,
    )
    if "this machine offers up to" in done.stderr:
        pytest.skip(f"this machine has no {level}")
    assert done.stdout.split() == [level, "36.0"], done.stderr


def test_unknown_cpu_level_is_refused():
    done = run("import refinedet_ext as rx; rx.build_info()", REFINEDET_EXT_CPU_LEVEL="sse9")
    assert done.returncode != 0
    assert "REFINEDET_EXT_CPU_LEVEL: expected baseline, avx2 or avx512, got sse9" in done.stderr
