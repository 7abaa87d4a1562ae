"""Modules of both packages: each can be the first to be imported, and none imports itself by way of others."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refinedet
import refinedet_ext

ROOTS = {package.__name__: Path(package.__file__).parent for package in (refinedet, refinedet_ext)}
COMPILED = {"refinedet_ext._numpy_ops"}
EACH_FIRST = """
import importlib, sys, traceback
package, *names = sys.argv[1:]
failed = []
for name in names:
    for loaded in [m for m in sys.modules if m == package or m.startswith(package + ".")]:
        del sys.modules[loaded]
    try:
        importlib.import_module(name)
    except ImportError:
        failed.append(name)
        traceback.print_exc()
sys.exit(f"these cannot be imported first: {failed}" if failed else 0)
"""


def modules(package: str) -> dict[str, Path]:
    found = {}
    for path in sorted(ROOTS[package].rglob("*.py")):
        parts = [package, *path.relative_to(ROOTS[package]).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """What a module imports when it runs. A function that asks a package that it lies in for a name of the package's
    own is left out: whoever calls it has imported that."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()

    def visit(node: ast.AST, in_function: bool) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            home = ".".join([*parents, *([node.module] if node.module else [])])
            inner = {f"{home}.{alias.name}" for alias in node.names}
            found.update(inner & known)
            if inner - known - COMPILED and not (in_function and name.startswith(f"{home}.")):
                found.add(home)
        in_function = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in node.orelse if is_type_checking(node) else ast.iter_child_nodes(node):
            visit(child, in_function)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return (found & known) - {name}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A way from a module back to itself; empty if there is none."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph[name]):
            found = visit(other, [*way, name])
            if found:
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name, []))), [])


def test_a_circle_is_found(tmp_path):
    (tmp_path / "a.py").write_text("from __future__ import annotations\ndef f():\n    from . import b\n")
    (tmp_path / "b.py").write_text("if TYPE_CHECKING:\n    from . import c\nelse:\n    from .c import x\n")
    (tmp_path / "c.py").write_text("import p.a\n")
    known = {"p.a", "p.b", "p.c"}
    graph = {name: imports(name, tmp_path / f"{name[2:]}.py", known) for name in known}
    assert graph == {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}}
    assert circle(graph) == ["p.a", "p.b", "p.c", "p.a"]
    (tmp_path / "c.py").write_text("from p import x\ndef f():\n    from . import y\n")
    assert imports("p.c", tmp_path / "c.py", {*known, "p"}) == {"p"}
    (tmp_path / "c.py").write_text("def f():\n    from . import y\n    from p import z\n")
    assert imports("p.c", tmp_path / "c.py", {*known, "p"}) == set()
    assert circle({"p.a": {"p.b", "p.c"}, "p.b": {"p.c"}, "p.c": set()}) == []


@pytest.mark.parametrize("package", ROOTS)
def test_no_module_imports_itself_by_way_of_others(package):
    found = modules(package)
    assert not circle({name: imports(name, path, set(found)) for name, path in found.items()})


def test_each_module_of_the_detectors_can_be_the_first():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EACH_FIRST, "refinedet", *modules("refinedet")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
