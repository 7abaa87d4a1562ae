"""Expected results prepared before: what agrees with them is right, whatever does not is computed anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.case import BOTH
from benchmarks.gpu import feature_cases
from benchmarks.gpu.case import GpuCase
from benchmarks.gpu.fake_machine import StandIn
from benchmarks.gpu.measure import measure
from benchmarks.gpu.prepared import Prepared, checksum, sketch


def test_a_sketch_keeps_the_norm_of_a_difference():
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(300_000, generator=rng)
    for error in (torch.randn(300_000, generator=rng), torch.ones(300_000), (torch.arange(300_000) == 5).double()):
        estimate = (sketch(x + error) - sketch(x)).norm()
        assert float(estimate / (x + error - x).norm()) == pytest.approx(1, abs=0.1)


def test_a_sketch_and_a_checksum_know_no_layout():
    x = torch.randn(2, 8, 5, 3)
    other = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(sketch(x), sketch(other)) and checksum(x) == checksum(other)
    changed = other.clone()
    changed[1, 7, 4, 2] += 1e-6
    assert checksum(changed) != checksum(x) and not torch.equal(sketch(changed), sketch(x))
    assert checksum(x.bfloat16()) != checksum(x) != checksum(x.flip(0))


def counting(case):
    """The case, and how often its reference was asked."""
    asked = []

    def expected(*inputs):
        asked.append(1)
        return case.expected(*inputs)

    return replace(case, expected=expected), asked


def small():
    return list(feature_cases.deform_cases("cpu", True))


def test_the_cases_of_one_expectation_share_it():
    prepared = Prepared()
    cases = small()
    prepared.add(cases)
    # two dtypes, both ways; layouts and TF32 share
    assert len(prepared.entries) == 4 and len(cases) == 12
    for case in cases:
        inputs = case.build()
        assert prepared.agrees(case, inputs, case.call(case.ours, inputs))


def test_the_reference_is_asked_only_where_nothing_agrees():
    case, asked = counting(small()[0])
    prepared = Prepared()
    measure(case, StandIn(), None, prepared)
    assert len(asked) == 1
    prepared.add([case])
    asked.clear()
    assert measure(case, StandIn(), None, prepared)["unchecked"] == "" and not asked
    other = replace(case, inputs=lambda: [2 * t for t in case.inputs()])
    assert measure(other, StandIn(), None, prepared)["unchecked"] == "" and len(asked) == 1


def test_a_wrong_result_is_still_wrong_and_a_stale_file_says_nothing():
    case, asked = counting(small()[0])
    prepared = Prepared()
    prepared.add([case])
    wrong = replace(case, ours=lambda *inputs: case.ours(*inputs) * 1.1)
    with pytest.raises(AssertionError, match="relative error"):
        measure(wrong, StandIn(), None, prepared)
    for entry in prepared.entries.values():
        entry["sketches"] = [2 * values for values in entry["sketches"]]
    asked.clear()
    assert measure(case, StandIn(), None, prepared)["unchecked"] == "" and len(asked) == 1


def test_cases_without_an_expectation_are_not_prepared():
    prepared = Prepared()
    prepared.add([GpuCase("op", "case", torch.neg, lambda: [torch.ones(3)], torch.neg)])
    assert not prepared.entries


def test_a_file_comes_back(tmp_path):
    prepared = Prepared()
    case = next(case for case in small() if case.direction == BOTH)
    prepared.add([case])
    prepared.save(tmp_path / "folder/prepared.pt")
    inputs = case.build()
    assert Prepared.load(tmp_path / "folder/prepared.pt").agrees(case, inputs, case.call(case.ours, inputs))
    torch.save({"weights": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(ValueError, match="text.pt: expected a file"):
        Prepared.load(tmp_path / "text.pt")
    with pytest.raises(ValueError, match="other.pt: expected a file of `python -m benchmarks.gpu.check --prepare`"):
        Prepared.load(tmp_path / "other.pt")
