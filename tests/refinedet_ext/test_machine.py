from __future__ import annotations

import types

import pytest
import torch

from refinedet_ext import machine


def test_is_a_fact_about_this_machine():
    assert machine.multiplies_bfloat16() in (True, False)


@pytest.mark.parametrize("answer", [0, 1])
def test_the_compiled_ops_know(answer, monkeypatch):
    monkeypatch.setattr(torch.ops, "refinedet_ext", types.SimpleNamespace(_multiplies_bfloat16=lambda: answer))
    assert machine.multiplies_bfloat16() is bool(answer)
