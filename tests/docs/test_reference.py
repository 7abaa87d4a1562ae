"""The reference has every public name, and its docstring every argument."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest
from docstring_parser import DocstringStyle, parse

import refinedet
import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from .pages import DOCS

PAGES = {"ops": rx, "nn": rx.nn, "numpy": rxn, "refinedet": refinedet}
"""The modules, by the page of the reference."""
ELSEWHERE = {"refinedet": {"NMSConfig"}, "numpy": {"Detections", "KeptAnchors", "Matches"}}
"""By page, what stands on another one: the configuration, the results of the ops."""
BY_OTHER_MEANS = {"device", "dtype"}
"""Arguments that are what they are in torch."""


def public(module: ModuleType) -> list[str]:
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def cases() -> list[tuple[str, object]]:
    """Every public function and class, and the classes' own methods that have a docstring."""
    found = {}
    for module in PAGES.values():
        for name in public(module):
            value = getattr(module, name)
            found[f"{module.__name__}.{name}"] = value
            for method, function in vars(value).items() if inspect.isclass(value) else ():
                if inspect.isfunction(function) and function.__doc__ and not method.startswith("_"):
                    found[f"{module.__name__}.{name}.{method}"] = function
    return [pytest.param(name, value, id=name) for name, value in found.items()]


def parameters(value: object) -> set[str]:
    if inspect.isclass(value) and issubclass(value, tuple):
        return set(value._fields)
    return set(inspect.signature(value).parameters) - {"self", "args", "kwargs"}


def described(value: object) -> tuple[set[str], bool]:
    """The names that "Args:" and "Attributes:" explain, and whether there is either."""
    told = parse(inspect.getdoc(value) or "", style=DocstringStyle.GOOGLE)
    return {name for param in told.params for name in re.split(r", ", param.arg_name)}, bool(told.params)


@pytest.mark.parametrize("page", PAGES)
def test_every_public_name_is_in_the_reference(page):
    text = (DOCS / "reference" / f"{page}.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\.\. auto\w+:: (\w+)$", text, re.M))
    assert listed == set(public(PAGES[page])) - ELSEWHERE.get(page, set())


@pytest.mark.parametrize(("name", "value"), cases())
def test_arguments_are_described(name, value):
    """All of them, or none where the text says it all; and none that there is not."""
    names, any_described = described(value)
    assert inspect.getdoc(value), f"{name} has no docstring"
    if any_described:
        own = parameters(value)
        assert names <= own, f"{name} describes arguments that it has not"
        if inspect.isfunction(value):
            assert own <= names | BY_OTHER_MEANS, f"{name} does not describe all its arguments"


@pytest.mark.parametrize("name", [name for module in (rx, rx.nn, rxn) for name in public(module)])
def test_ops_have_an_example(name):
    for module in (rx, rx.nn, rxn):
        value = getattr(module, name, None) if name in module.__all__ else None
        results = inspect.isclass(value) and issubclass(value, tuple)
        if value is not None and not results and not name.endswith("num_threads"):
            assert "Example:\n" in inspect.getdoc(value) and ">>> " in inspect.getdoc(value)
