"""The cases of the GPU benchmarks compute the right things: on the CPU, since that must work at the first try there."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

import refinedet_ext as rx
from benchmarks.case import Peer
from benchmarks.gpu import box_cases, check, feature_cases
from benchmarks.gpu.__main__ import MAKERS, Rows, measure, table
from benchmarks.gpu.case import GpuCase
from benchmarks.gpu.timing import Ceilings, Time

# torchvision's functions of these names, where there is none: the same arguments
STAND_IN = SimpleNamespace(nms=rx.nms, batched_nms=rx.batched_nms, deform_conv2d=rx.deform_align)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_cases(make):
    cases = list(make("cpu", True))
    assert cases
    for case in cases:
        inputs = case.build()
        case.check(inputs, case.call(case.expected, inputs))
        for peer in case.peers.values():
            if peer is not None:
                case.call(peer.run, inputs if peer.prepare is None else list(peer.prepare(*inputs)))
        assert case.bytes >= 0 and case.work(inputs) >= 0


@pytest.mark.parametrize("path", check.TESTS)
def test_the_tests_that_it_runs_are_there(path):
    assert (check.ROOT / path).exists()


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_no_case_mixes_devices(make, monkeypatch):
    """Fake tensors tell devices apart; "meta" stands for the GPU, which a torch without CUDA cannot even pretend."""
    for module in (box_cases, feature_cases):
        monkeypatch.setattr(module, "torchvision_ops", lambda: STAND_IN)
    for case in make("cpu", True):
        inputs = case.build()
        with FakeTensorMode(allow_non_fake_inputs=True):  # torch.tensor makes no fake one
            moved = [on_meta(x) if isinstance(x, torch.Tensor) else x for x in inputs]
            for peer in (Peer(case.ours), *(peer for peer in case.peers.values() if peer is not None)):
                # values and lengths that only a real run knows: what follows is not seen
                with suppress(DataDependentOutputException, DynamicOutputShapeException):
                    case.call(peer.run, moved if peer.prepare is None else list(peer.prepare(*moved)))


def on_meta(x):
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="meta").requires_grad_(x.requires_grad)


class CountingTimer:
    """Calls what it is to time, as a GPU's timer does."""

    def call(self, run):
        run()
        return Time(2.0, 0.1)

    graph = call


CEILINGS = Ceilings(1e12, {"float32": 1e12}, 1.0)


def broken(*inputs):
    raise RuntimeError("not implemented\nfor bfloat16")


def case_of(expected=torch.neg, **peers):
    made = {name: Peer(run) for name, run in peers.items()}
    return GpuCase("op", "case", torch.neg, lambda: [torch.ones(3)], expected, {**made, "absent": None})


def test_a_peer_that_fails_costs_its_own_cell():
    row = measure(case_of(good=torch.neg, bad=broken), CountingTimer(), CEILINGS)
    assert row["peers"]["bad"] == {"error": "RuntimeError: not implemented for bfloat16"}
    assert row["peers"]["good"]["graph"]["median"] == 2 and row["peers"]["absent"] is None
    assert row["ratio_call"] == row["ratio_graph"] == 1 and row["unchecked"] == ""
    assert measure(case_of(bad=broken), CountingTimer(), CEILINGS)["ratio_call"] is None


def test_a_reference_that_fails_leaves_the_times():
    row = measure(case_of(broken, good=torch.neg), CountingTimer(), CEILINGS)
    assert row["unchecked"] == "RuntimeError: not implemented for bfloat16" and row["ratio_call"] == 1
    with pytest.raises(AssertionError):
        measure(case_of(torch.abs), CountingTimer(), CEILINGS)


def test_rows_are_kept_one_by_one_and_shown(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")
    for case in (case_of(good=torch.neg, bad=broken), case_of(broken)):
        rows.add(measure(case, CountingTimer(), CEILINGS))
        assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == rows.rows
    rows.add({"op": "op", "case": "other", "error": "trap"})
    head = {"gpu": "none", "torch": "2", "torchvision": "0", "date": "", "copy_bytes_per_second": 1e12}
    text = table({**head, "products_per_second": {"float32": 1e12}, "launch_us": 1.0}, rows.rows)
    assert "bad  /  FAILED: RuntimeError: not implemented for bfloat16" in text and "absent missing" in text
    assert "case, unchecked: RuntimeError" in text and "FAILED: trap" in text
