"""Every op and detector has cases, and they compute the right things."""

from __future__ import annotations

import pytest
import torch

import refinedet
import refinedet_ext as rx
from benchmarks import catalog, inputs
from benchmarks.case import Peer
from benchmarks.detectors import bench_networks
from benchmarks.ops import bench_call_overhead
from benchmarks.ops.features import bench_deform_align
from benchmarks.references import OPS, reference_ops
from benchmarks.runner import Prepared, with_threads

ALL = list(catalog.all_cases())
WHOLE = ("bench_detectors", "bench_networks", "bench_runtimes")  # slow; one detector below stands for them


def smallest():
    """The first case of each op, dtype and direction."""
    first = {}
    for module in catalog.modules():
        if not module.__name__.endswith(WHOLE):
            for case in module.cases():
                first.setdefault((case.op, case.dtype, case.direction), case)
    return list(first.values())


def test_every_op_has_cases():
    timed = {case.op for case in ALL}
    assert set(OPS) <= timed
    assert set(OPS) == set(bench_call_overhead.CALLS)


def test_every_detector_has_cases():
    for name in refinedet.list_models():
        ways = {case.direction for case in ALL if case.op == "detector" and case.name.startswith(f"{name}, ")}
        assert ways == {"forward", "forward and backward"}


def test_no_two_cases_alike():
    assert len({case.key for case in ALL}) == len(ALL)


def test_the_short_selection():
    short = catalog.select([], short=True)
    assert {case.op for case in short} >= {"batched_nms", "detect", "loss", "deform_align", "call overhead", "detector"}
    assert len(short) < 0.4 * len(ALL)


def excused(name, dtype, why):
    """Another package may lack bfloat16, or round at every step in it; whatever else is wrong with a peer is ours."""
    other = name.endswith(("torchvision", "mmcv")) and dtype == "bfloat16"
    return other and ("not implemented" in why or why.startswith("differs"))


@pytest.mark.parametrize("case", smallest(), ids=lambda case: case.title())
def test_case(case, monkeypatch):
    # the products are the same on a narrow map
    monkeypatch.setattr(bench_deform_align, "CHANNELS", 8)
    with with_threads(1):
        prepared = Prepared(case)
        for name, peer in case.peers.items():
            if isinstance(peer, Peer):
                ready = prepared.peer(name, compile=False)
                if isinstance(ready, str):
                    assert ready.startswith("not timed") or excused(name, case.dtype, ready), (name, ready)


@pytest.mark.parametrize("name", ["refinedet192_small, B=1", "refinedet192_small, B=2, training step"])
def test_detector(name):
    (case,) = [case for case in ALL if case.op == "detector" and case.name == name]
    with with_threads(1):
        prepared = Prepared(case)
    assert case.work(prepared.inputs) > 1e8
    if case.direction == "forward":
        assert int(prepared.expected.count) > 20


@pytest.mark.parametrize("fast", [True, False])
def test_networks_in_bfloat16_want_instructions_for_it(monkeypatch, fast):
    monkeypatch.setattr(bench_networks, "multiplies_bfloat16", lambda: fast)
    skipped = {case.dtype for case in bench_networks.cases() if case.skip}
    assert skipped == (set() if fast else {"bfloat16"})


def test_the_ops_are_put_back():
    before = rx.detect
    with pytest.raises(KeyError), reference_ops():
        assert rx.detect is rx.reference.detect
        raise KeyError
    assert rx.detect is before


def test_detector_outputs_are_as_asked():
    rng = torch.Generator().manual_seed(0)
    anchors = inputs.pyramid_anchors(320)
    arm_logits, _, odm_logits, _ = inputs.detector_outputs(anchors, 2, 21, 390, 1400, rng)
    kept = rx.filter_anchors_mask(arm_logits)
    assert kept.sum(1).tolist() == [390, 390]
    counted = (odm_logits.softmax(-1)[..., 1:] > 0.01)[kept].sum()
    assert abs(int(counted) - 2800) < 50
