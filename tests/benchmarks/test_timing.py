"""Medians, quartiles, and the end of a measurement."""

from __future__ import annotations

import time

import pytest

from benchmarks.timing import measure, summary


def test_summary():
    found = summary([0.004, 0.001, 0.002, 0.003, 0.005])
    assert (found.low, found.median, found.high, found.samples) == (2.0, 3.0, 4.0, 5)
    assert found.spread == pytest.approx(2 / 3)
    assert summary([0.001, 0.002]).median == 1.5


def test_contestants_alternate():
    order = []
    measure(
        {"a": lambda: (order.append("a"), time.sleep(1e-3)), "b": lambda: (order.append("b"), time.sleep(1e-3))}, most=4
    )
    assert order[-8:] == ["a", "b"] * 4


def test_a_time_of_calls():
    times = measure({"short": lambda: time.sleep(1e-3), "long": lambda: time.sleep(4e-3)}, seconds=0.03)
    assert 1 <= times["short"].median < times["long"].median
    assert times["short"].samples > times["long"].samples >= 3


def test_short_calls_are_repeated():
    calls = []
    found = measure({"short": lambda: calls.append(1)}, seconds=0.01, most=5)["short"]
    assert found.samples == 5 and len(calls) > 100
    assert found.median < 0.05


def test_least_samples_whatever_the_time():
    assert measure({"slow": lambda: time.sleep(0.02)}, seconds=0.001)["slow"].samples == 3
