from __future__ import annotations

import pytest
import torch

from refinedet import optimize_for_inference
from refinedet.optimize import machine
from refinedet_ext.machine import multiplies_bfloat16

from .networks import assert_as_near, build, images


def test_one_test_for_fast_bfloat16():
    assert machine.multiplies_bfloat16 is multiplies_bfloat16


def test_auto_takes_bfloat16_where_the_cpu_has_it(small, monkeypatch):
    for has, name in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "multiplies_bfloat16", lambda has=has: has)
        report = optimize_for_inference(small).report
        assert report.dtype == name and "bfloat16" in report.dtype_reason


def test_bfloat16_is_computed_where_the_cpu_has_no_instructions_for_it(monkeypatch):
    """oneDNN refuses to pack weights in it there; torch's own convolutions emulate it."""

    def refuse(*args):
        raise RuntimeError("mkldnn_reorder_conv2d_weight: bf16 path needs the cpu support avx_ne_convert or avx512bw")

    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_convolution_weight", refuse)
    model = build("refinedet320_small", input_size=64)
    result = optimize_for_inference(model, dtype="bfloat16")
    assert_as_near(model, result, images(model), "bfloat16")
    assert result.report.packed_convolutions == 0 < result.report.folded_norms
    text = str(result.report)
    assert "the CPU has no instructions for it: float32 is faster here" in text
    assert "oneDNN packs no bfloat16 on this CPU: weights are not packed" in text


def test_without_onednn_it_still_works(small, monkeypatch):
    monkeypatch.setattr(machine, "why_not_packed", lambda dtype: "this torch has no oneDNN")
    result = optimize_for_inference(small, dtype="float32")
    assert_as_near(small, result, images(small))
    assert "no oneDNN" in str(result.report)


def test_weights_are_packed_in_float32_wherever_torch_has_onednn():
    assert (machine.why_not_packed(torch.float32) is None) == torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("dtype", ["float64", "bf16", None])
def test_unknown_dtypes_are_named(dtype):
    with pytest.raises(ValueError, match=r"dtype: expected one of \['auto', 'float32', 'bfloat16'\], got"):
        machine.resolve_dtype(dtype)
