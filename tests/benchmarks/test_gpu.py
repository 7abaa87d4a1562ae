"""The cases of the GPU benchmarks compute the right things: on the CPU, since that must work at the first try there."""

from __future__ import annotations

import pytest

from benchmarks.gpu import check
from benchmarks.gpu.__main__ import MAKERS


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_cases(make):
    cases = list(make("cpu", True))
    assert cases
    for case in cases:
        inputs = case.build()
        case.check(inputs, case.call(case.expected, inputs))
        for peer in case.peers.values():
            if peer is not None:
                case.call(peer.run, inputs)
        assert case.bytes >= 0 and case.work(inputs) >= 0


@pytest.mark.parametrize("path", check.TESTS)
def test_the_tests_that_it_runs_are_there(path):
    assert (check.ROOT / path).exists()
