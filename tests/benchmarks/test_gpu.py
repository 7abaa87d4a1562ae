"""The cases of the GPU benchmarks compute the right things: on the CPU, since that must work at the first try there."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

import refinedet_ext as rx
from benchmarks.gpu import box_cases, check, feature_cases
from benchmarks.gpu.__main__ import MAKERS

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
                case.call(peer.run, inputs)
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
            for op in (case.ours, *(peer.run for peer in case.peers.values() if peer is not None)):
                # values and lengths that only a real run knows: what follows is not seen
                with suppress(DataDependentOutputException, DynamicOutputShapeException):
                    case.call(op, moved)


def on_meta(x):
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="meta").requires_grad_(x.requires_grad)
