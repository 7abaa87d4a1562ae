"""The package itself: cheap to import, with names that are what they say."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import refinedet_ext as rx


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("module", ["refinedet_ext", "refinedet_ext.numpy", "refinedet_ext.checks"])
def test_imports_no_torch(module):
    assert run(f"import sys, {module}; print('torch' in sys.modules)") == "False"


def test_numpy_face_is_used_without_torch():
    code = "import sys, refinedet_ext.numpy as rxn; rxn.nms([[0, 0, 1, 1]], [0.5], 0.5); print('torch' in sys.modules)"
    assert run(code) == "False"


def test_torch_face_comes_with_its_first_name():
    code = (
        "import sys, refinedet_ext as rx\n"
        "from refinedet_ext import detect, nn\n"
        "import torch\n"
        "print(rx.detect is detect, callable(detect), rx.nn is nn, torch.ops.refinedet_ext.nms.default)"
    )
    assert run(code) == "True True True refinedet_ext.nms.default"


def test_ops_are_registered_at_once_where_torch_is_imported():
    assert run("import torch, refinedet_ext; print(torch.ops.refinedet_ext.nms.default)") == "refinedet_ext.nms.default"


@pytest.mark.parametrize("name", rx.__all__)
def test_every_name(name):
    value = getattr(rx, name)
    assert value is getattr(rx, name)
    if name in ("nn", "reference"):
        assert isinstance(value, ModuleType)
    else:
        assert isinstance(value, (FunctionType, type)) and value.__name__ == name
    assert name in dir(rx)


def test_type_checkers_see_what_python_sees():
    """The imports for type checkers and the table for Python are one list."""
    source = Path(rx.__file__).read_text()
    block = next(n for n in ast.parse(source).body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            seen[alias.name] = f".{node.module}" if node.module else ""
    assert seen == rx._TORCH_FACE
    assert set(seen) < set(rx.__all__) == set(rx.__all__) | set(seen)


def test_a_function_stays_what_it_is_when_its_file_is_imported():
    importlib.import_module("refinedet_ext.ops.detect")
    assert inspect.isfunction(rx.detect) and inspect.isfunction(rx.build_info)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'refinedet_ext' has no attribute 'detekt'"):
        _ = rx.detekt
