"""Rows: checked, timed beside peers, what fails costs its own cell; and targets."""

from __future__ import annotations

import pytest
import torch

from benchmarks.case import Target
from benchmarks.gpu.case import MEGABYTES, MICROSECONDS, GpuCase, GpuPeer
from benchmarks.gpu.device import Ceilings
from benchmarks.gpu.fake_machine import StandIn
from benchmarks.gpu.measure import floor_of, judge, measure
from benchmarks.gpu.prepared import Prepared
from benchmarks.gpu.timing import Time

CEILINGS = Ceilings(1e12, {"float32": 1e12, "tf32": 1e13}, 1.0)


def broken(*inputs):
    raise RuntimeError("not implemented\nfor bfloat16")


def case_of(expected=torch.neg, *, targets=(), capturable=True, **peers):
    made = {name: run if isinstance(run, GpuPeer) else GpuPeer(run) for name, run in peers.items()}
    inputs = {"inputs": lambda: [torch.ones(3)], "expected": expected, "peers": {**made, "absent": None}}
    return GpuCase("op", "case", torch.neg, **inputs, targets=targets, capturable=capturable)


def row_of(case, ceilings=CEILINGS):
    return measure(case, StandIn(), ceilings, Prepared())


def test_a_peer_that_fails_costs_its_own_cell():
    row = row_of(case_of(good=torch.neg, bad=broken, targets=(Target(2.0, "bad"), Target(1.0, "good"))))
    assert row["peers"]["bad"] == {"error": "RuntimeError: not implemented for bfloat16"}
    assert row["peers"]["good"]["graph"]["median"] == 10 and row["peers"]["absent"] is None
    assert row["ratios"] == {"good": 1.0, "bad": None, "absent": None} and row["unchecked"] == ""
    assert [target["reached"] for target in row["targets"]] == [None, True]


def test_a_reference_that_fails_leaves_the_times():
    row = row_of(case_of(broken, good=torch.neg))
    assert row["unchecked"] == "RuntimeError: not implemented for bfloat16" and row["ratios"]["good"] == 1


def test_a_wrong_result_is_no_row():
    with pytest.raises(AssertionError):
        row_of(case_of(torch.abs))


def test_without_ceilings_there_is_no_floor():
    row = row_of(case_of(targets=(Target(2.0, "floor"),)), ceilings=None)
    assert row["floor_us"] is None and row["over_floor"] is None and row["targets"][0]["reached"] is None
    assert row_of(case_of())["floor_us"] == CEILINGS.launch


def test_the_floor_is_bytes_products_or_a_launch():
    def case(**what):
        return GpuCase("op", "case", torch.neg, lambda: [], torch.neg, **what)

    assert floor_of(case(bytes=5e6), CEILINGS) == 5
    assert floor_of(case(flops=2e7), CEILINGS) == 20
    assert floor_of(case(flops=2e7, tf32=True), CEILINGS) == 2
    assert floor_of(case(), CEILINGS) == 1


def test_peers_that_no_graph_can_replay_are_compared_by_calls():
    class CallsAreSlow(StandIn):
        class timer:
            call = staticmethod(lambda run: Time(30.0, 0.0))
            graph = staticmethod(lambda run: Time(10.0, 0.0))

    case = case_of(plain=torch.neg, waits=GpuPeer(torch.neg, capturable=False))
    row = measure(case, CallsAreSlow(), CEILINGS, Prepared())
    assert "graph" not in row["peers"]["waits"] and row["ratios"] == {"plain": 1.0, "waits": 1.0, "absent": None}
    assert "graph" not in measure(case_of(capturable=False), CallsAreSlow(), CEILINGS, Prepared())["ours"]


@pytest.mark.parametrize(
    ("target", "text", "value", "reached"),
    [
        (Target(2.0, "peer"), "2x peer", 3.0, True),
        (Target(4.0, "peer"), "4x peer", 3.0, False),
        (Target(0.5, "slow peer"), "within 2x of slow peer", 2.5, False),
        (Target(1 / 3, "slow peer"), "within 3x of slow peer", 2.5, True),
        (Target(1.4, "floor"), "within 1.4x of the floor", 1.3, True),
        (Target(9, MICROSECONDS), "at most 9 microseconds", 10.0, False),
        (Target(64, MEGABYTES), "at most 64 megabytes", 50.0, True),
    ],
)
def test_targets(target, text, value, reached):
    def times(median):
        return {"call": {"median": 2 * median}, "graph": {"median": median}}

    row = {"ours": times(10.0), "peers": {"peer": times(30.0), "slow peer": times(4.0)}}
    row |= {"over_floor": 1.3, "megabytes": 50.0}
    assert judge(row, target) == {"text": text, "value": pytest.approx(value), "reached": reached}
