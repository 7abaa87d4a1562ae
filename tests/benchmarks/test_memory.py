"""The measurement of peak memory, on calls whose peak is known."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import memory
from benchmarks.memory import MIB, peak_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


def test_a_result():
    taken, result = peak_of(lambda: torch.ones(64 * MIB // 4))
    assert result == 64 * MIB and 63 * MIB < taken < 72 * MIB


def test_scratch_that_is_freed_again():
    def run():
        return torch.ones(64 * MIB // 4)[: MIB // 4].clone()

    taken, result = peak_of(run)
    assert result == MIB and 64 * MIB < taken < 74 * MIB


def test_nothing():
    taken, _ = peak_of(lambda: torch.ones(1))
    assert taken < 2 * MIB


def test_in_a_child():
    (peak,) = memory.measure(["deform_align"])
    assert peak.error == "" and peak.output_mib == 64 and peak.mib > 64


def test_a_child_that_fails(monkeypatch):
    monkeypatch.setitem(memory.CASES, "nothing", memory.CASES["deform_align"])
    (peak,) = memory.measure(["nothing"])
    assert peak.mib is None and peak.reached is None and "KeyError" in peak.error
