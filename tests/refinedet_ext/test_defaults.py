"""One table of defaults: both faces, the references and the registered schemas have its values."""

from __future__ import annotations

import inspect

import pytest
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn
from refinedet_ext import defaults

TABLE = {name.lower(): value for name, value in vars(defaults).items() if name.isupper()}
FUNCTIONS = [name for name in rx.__all__ if inspect.isfunction(getattr(rx, name)) and name != "build_info"]


def settings(function):
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if p.default is not p.empty and name in TABLE}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions(name):
    public = settings(getattr(rx, name))
    assert public == {key: TABLE[key] for key in public}
    assert settings(getattr(rx.reference, name)) == public
    if hasattr(rxn, name):
        assert settings(getattr(rxn, name)) == public


@pytest.mark.parametrize("name", FUNCTIONS)
def test_registered_schemas(name):
    for argument in getattr(torch.ops.refinedet_ext, name).default._schema.arguments:
        if argument.has_default_value() and argument.name in TABLE:
            expected = TABLE[argument.name]
            assert argument.default_value == (list(expected) if isinstance(expected, tuple) else expected)


def test_every_default_is_used():
    used = {key for name in FUNCTIONS for key in settings(getattr(rx, name))}
    assert used == set(TABLE)
