"""The cases of the GPU benchmarks compute the right things: on the CPU, since that must work at the first try there."""

from __future__ import annotations

import copy
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

import refinedet_ext as rx
from benchmarks.case import Peer
from benchmarks.gpu import box_cases, feature_cases, network_cases
from benchmarks.gpu.case import MEGABYTES, MICROSECONDS
from benchmarks.gpu.catalog import FIRST, REST, all_cases
from benchmarks.references import OPS

# torchvision's functions of these names, where there is none: the same arguments
STAND_IN = SimpleNamespace(nms=rx.nms, batched_nms=rx.batched_nms, deform_conv2d=rx.deform_align)
MAKERS = FIRST + REST


@pytest.fixture
def _torchvision(monkeypatch):
    for module in (box_cases, feature_cases, network_cases):
        monkeypatch.setattr(module, "torchvision_ops", lambda: STAND_IN)


def peers_of(case):
    return [peer for peer in case.peers.values() if peer is not None]


@pytest.mark.usefixtures("_torchvision")
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_small_cases_give_what_is_expected(make):
    cases = list(make("cpu", True))
    assert cases
    for case in cases:
        inputs = case.build()
        case.check(inputs, case.call(case.expected, inputs))
        for peer in peers_of(case):
            case.call(peer.run, inputs if peer.prepare is None else list(peer.prepare(*inputs)))


@pytest.mark.usefixtures("_torchvision")
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_no_case_mixes_devices(make):
    """Fake tensors tell devices apart; "meta" stands for the GPU, which a torch without CUDA cannot even pretend."""
    for case in make("cpu", True):
        inputs = [on_meta(x) if isinstance(x, torch.nn.Module) else x for x in case.build()]
        with FakeTensorMode(allow_non_fake_inputs=True):  # torch.tensor makes no fake one
            moved = [on_meta(x) if isinstance(x, torch.Tensor) else x for x in inputs]
            for peer in (Peer(case.ours), *peers_of(case)):
                # values and lengths that only a real run knows: what follows is not seen
                with suppress(DataDependentOutputException, DynamicOutputShapeException):
                    case.call(peer.run, moved if peer.prepare is None else list(peer.prepare(*moved)))


def on_meta(x):
    if isinstance(x, torch.nn.Module):
        moved = copy.deepcopy(x).to("meta")
        moved._anchors.clear()
        return moved
    return torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device="meta").requires_grad_(x.requires_grad)


@pytest.mark.parametrize("small", [True, False])
def test_every_op_has_cases_of_its_own(small):
    cases = list(all_cases("cpu", small=small))
    assert set(OPS) <= {case.op for case in cases}
    assert len({case.id for case in cases}) == len(cases)


def test_making_the_cases_makes_no_inputs():
    with FakeTensorMode():  # the anchors, which are counted, are small
        assert len(list(all_cases("cuda"))) > 100


def test_targets_name_what_is_measured():
    for case in all_cases("cpu"):
        assert {target.over for target in case.targets} <= {"floor", MICROSECONDS, MEGABYTES, *case.peers}


def test_the_targets_of_the_feature_ops():
    named = {case.id: {(target.ratio, target.over) for target in case.targets} for case in all_cases("cuda")}
    shape = "B=8, 256 channels, 40x40"
    way = "deform_align, forward and backward"
    assert named[f"deform_align, forward: {shape}, bfloat16, channels last"] == {
        (3.0, "torchvision, float16"),
        (0.5, "plain convolution"),
    }
    assert named[f"{way}: {shape}, bfloat16, contiguous"] == {(3.0, "torchvision, float16")}
    assert named[f"{way}: {shape}, float32 with TF32, contiguous"] == set()
    assert named[f"{way}: {shape}, float32, contiguous"] == {(1.4, "torchvision")}
    deconv = "deconv_sum, forward: B=32, 256 channels, 20 to 40"
    assert named[f"{deconv}, bfloat16, channels last"] == {(1.5, "torch"), (1.4, "floor")}
    assert named[f"{deconv}, float32, channels last"] == set()


def test_tf32_is_as_torch_ships_it_or_off():
    shipped = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    assert shipped == (False, True)
    for case in all_cases("cpu", small=True):
        with case.settings():
            assert torch.backends.cudnn.allow_tf32 == case.tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == shipped


def test_a_batch_repeats_a_few_images(monkeypatch):
    monkeypatch.setattr(box_cases, "DISTINCT", 1)
    box_cases.detect_inputs.cache_clear()
    logits, *_, anchors = box_cases.detect_inputs(320, 2, 3)
    box_cases.detect_inputs.cache_clear()
    assert logits.shape == (2, len(anchors), 2) and torch.equal(logits[0], logits[1])
