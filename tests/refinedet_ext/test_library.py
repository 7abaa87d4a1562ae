from __future__ import annotations

import warnings

import pytest
import torch

import refinedet_ext as rx
from refinedet_ext import _library

IMAGE, WEIGHT = torch.ones(1, 2, 2, 2), torch.ones(2, 3, 2, 2)


def test_the_ops_are_loaded():
    assert _library.available()
    _library.require()
    assert _library.op("nms") is torch.ops.refinedet_ext.nms.default


def test_without_the_library_the_first_call_says_what_to_do(monkeypatch):
    monkeypatch.setattr(_library, "_problem", "build it")
    assert not _library.available()
    missing = _library.op("nms")
    with pytest.raises(ImportError, match="build it"):
        missing(1, 2)
    for register in (_library.register_not_differentiable, _library.register_vmap):
        register("nms")  # there is nothing to register for


def test_autocasting():
    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert not _library.autocasting(cpu)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert _library.autocasting(cpu) and not _library.autocasting(meta)


@pytest.fixture
def not_warned():
    _library._warn_of_slow_bfloat16.cache_clear()
    yield
    _library._warn_of_slow_bfloat16.cache_clear()


def features():
    yield lambda: rx.deconv_sum(IMAGE, WEIGHT, None, torch.ones(1, 3, 4, 4))
    yield lambda: rx.deform_align(IMAGE, None, torch.ones(3, 2, 1, 1))


@pytest.mark.parametrize("call", features())
def test_autocast_to_slow_bfloat16_is_warned_of_once(call, monkeypatch, not_warned):
    monkeypatch.setattr(_library, "multiplies_bfloat16", lambda: False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.warns(UserWarning, match="no bfloat16 instructions.*leave autocast out"):
            assert call().dtype == torch.bfloat16
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call()


@pytest.mark.parametrize("call", features())
def test_no_warning_where_there_is_no_reason(call, monkeypatch, not_warned):
    monkeypatch.setattr(_library, "multiplies_bfloat16", lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()
        with torch.autocast("cpu", dtype=torch.float16):
            call()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rx.decode_boxes(torch.zeros(1, 4), torch.ones(1, 4))  # computed in float32 whatever autocast says
        monkeypatch.setattr(_library, "multiplies_bfloat16", lambda: True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            call()


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("check_below, ../../csrc/torch/loss_checks.h:22, labels: expected values", "labels: expected values"),
        (
            "labels: expected values, csrc/torch/a.cpp:3, or others",
            "labels: expected values, csrc/torch/a.cpp:3, or others",
        ),
        ("CUDA out of memory", "CUDA out of memory"),
    ],
)
def test_a_message_begins_with_what_it_says(message, shown):
    error = RuntimeError(message)
    _library.drop_location(error)
    assert str(error) == shown
    for other in (RuntimeError(), RuntimeError(3), OSError(2, "no file")):
        before = other.args
        _library.drop_location(other)
        assert other.args == before
