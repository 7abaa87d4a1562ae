"""A case is checked, then timed; what is wrong, missing or broken is said."""

from __future__ import annotations

import json
import time

import torch

from benchmarks import runner
from benchmarks.case import BOTH, Peer, Target, both_ways
from benchmarks.runner import Row, run_case
from benchmarks.timing import Time

from .cases import RATES, case


def rows(made, **options):
    return list(run_case(made, RATES, seconds=0.005, **options))


def test_times_ours_and_the_peers():
    (row,) = rows(case())
    assert row.error == "" and row.ours.samples >= 3
    assert 0 < row.ours.low <= row.ours.median <= row.ours.high
    assert row.best_peer == "product" and row.ratio() > 0
    assert row.key == ("twice", "N=8", "float32", "forward", 1)


def test_what_computes_something_else_is_never_the_best_peer():
    other = Peer(lambda x: x, agrees=lambda got, expected: True, another=True)
    slow = Peer(lambda x: [x + x for _ in range(200)][0])
    target = Target(0.001, "identity")
    (row,) = rows(case(peers={"identity": other, "slow": slow}, targets=(target,)))
    assert row.best_peer == "slow" and row.others == ("identity",)
    assert row.ratio("identity") > 0 and row.reached(target)
    again = Row.from_dict(json.loads(json.dumps(row.to_dict())))
    assert again == row
    before = {key: value for key, value in row.to_dict().items() if key != "others"}
    assert Row.from_dict(before).best_peer == "identity"


def test_a_missing_peer_is_named():
    (row,) = rows(case())
    assert row.peers["absent"] == "missing"


def test_a_case_that_the_machine_cannot_time_is_named():
    (row,) = rows(case(skip="no such instruction", inputs=lambda: 1 / 0))
    assert row.skipped == "no such instruction" and row.ours is None and row.error == ""
    assert Row.from_dict(json.loads(json.dumps(row.to_dict()))) == row


def test_a_wrong_result_is_refused():
    (row,) = rows(case(ours=lambda x: x + x + (x == 3)))
    assert row.ours is None and not row.peers
    assert "relative error" in row.error


def test_a_wrong_shape_is_refused():
    (row,) = rows(case(ours=lambda x: (x + x)[None]))
    assert "expected the shape (8,), got (1, 8)" in row.error


def test_the_last_bit_counts_where_the_case_is_exact():
    def off(x):
        return torch.nextafter(x + x, torch.tensor(100.0))

    assert rows(case(ours=off))[0].error == ""
    assert rows(case(ours=off, exact=True))[0].error != ""


def test_a_nan_is_refused():
    (row,) = rows(case(ours=lambda x: (x + x) / (x != 3)))
    assert row.error != ""


def test_a_peer_that_differs_is_no_peer():
    (row,) = rows(case(peers={"product": Peer(lambda x: 3 * x)}))
    assert row.peers["product"] == "differs from the expected result" and row.ratio() is None
    assert row.error == ""


def test_a_peer_that_fails_stops_nothing():
    def broken(x):
        raise RuntimeError("no kernel")

    (row,) = rows(case(peers={"product": Peer(broken)}))
    assert row.peers["product"] == "failed: RuntimeError: no kernel" and row.ours is not None


def test_a_peer_has_inputs_of_its_own_form():
    peer = Peer(
        lambda x: x * 2, prepare=lambda x: [x[None]], agrees=lambda got, expected: bool((got[0] == expected).all())
    )
    assert isinstance(rows(case(peers={"row": peer}))[0].peers["row"], Time)


def test_compiling_can_be_left_out():
    (row,) = rows(case(peers={"compiled": Peer(lambda x: 2 * x, compile=True)}), compile=False)
    assert row.peers["compiled"] == "not timed: left out"


def test_compiling_has_a_limit(monkeypatch):
    def slow(x):
        time.sleep(5)
        return 2 * x

    monkeypatch.setattr(runner, "compiled", lambda op: op)
    monkeypatch.setattr(runner, "COMPILE_SECONDS", 0.05)
    (row,) = rows(case(peers={"compiled": Peer(slow, compile=True)}))
    assert row.peers["compiled"] == "not timed: not compiled within 0.05 s"


def test_gradients_are_checked_and_timed():
    forward, both = both_ways(case(peers={}))
    assert (forward.direction, both.direction) == ("forward", BOTH)
    assert rows(both)[0].error == ""

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x + x

        @staticmethod
        def backward(ctx, grad):
            return 3 * grad

    assert rows(case(ours=Wrong.apply, peers={}))[0].error == ""
    assert "relative error" in rows(case(ours=Wrong.apply, peers={}, direction=BOTH))[0].error


def test_own_backward_is_run_with_gradients():
    def step(x):
        leaf = x.clone().requires_grad_()
        (leaf * leaf).sum().backward()
        return leaf.grad

    (row,) = rows(case(ours=step, peers={}, direction=BOTH, own_backward=True))
    assert row.error == "" and row.ours is not None


def test_the_floor_is_the_larger_of_traffic_and_work():
    assert rows(case(bytes=2**28, peers={}))[0].floor == 2**28 / 10e6  # of memory at 10 GB/s, not of the cache
    assert rows(case(bytes=2**18, peers={}))[0].floor == 2**18 / 100e6
    assert rows(case(flops=10**9, peers={}))[0].floor == 10.0
    assert rows(case(flops=lambda x: len(x) * 10**9, peers={}, dtype="bfloat16", tolerance=1e-6))[0].floor == 40.0
    assert rows(case(bytes=0, peers={}))[0].floor is None


def test_products_are_timed_as_the_floor():
    (row,) = rows(case(products=((64, 64, 64),)))
    assert row.floor > 0 and "floor" not in row.peers


def test_products_of_a_backward():
    assert both_ways(case(products=((2, 3, 5),)))[1].products == ((2, 3, 5), (2, 5, 3), (5, 3, 2))


def test_threads():
    before = torch.get_num_threads()
    seen = []

    def ours(x):
        seen.append(torch.get_num_threads())
        return x + x

    two = {1: RATES[1], 2: RATES[1]}
    made = list(run_case(case(ours=ours, threads=(1, 2, 3)), two, seconds=0.001))
    assert [row.threads for row in made] == [1, 2] and set(seen) == {1, 2}
    assert torch.get_num_threads() == before
