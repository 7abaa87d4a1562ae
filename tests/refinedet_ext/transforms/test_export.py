"""Exported programs: named tuples that go in and come out, and packages of AOTInductor."""

from __future__ import annotations

import io
import logging
import shutil

import pytest
import torch

import refinedet_ext as rx

from .calls import CALLS

RESULTS = {
    "match_anchors": rx.Matches,
    "filter_anchors": rx.KeptAnchors,
    "batched_nms_padded": rx.KeptBoxes,
    "mined_cross_entropy": rx.MinedLoss,
    "multiclass_nms": rx.Detections,
    "detect": rx.Detections,
}


class Module(torch.nn.Module):
    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, *arguments):
        return self.run(*arguments)


def through_a_file(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", RESULTS)
def test_result_tuples_come_out_and_go_in(name, strict, caplog):
    call, kind = CALLS[name], RESULTS[name]
    result = call.run(*call.tensors)
    program = through_a_file(torch.export.export(Module(call.run), call.tensors, strict=strict))
    got = program.module()(*call.tensors)
    assert type(got) is kind
    assert all(map(torch.equal, got, result))

    double = Module(lambda found: [part * 2 for part in found])
    doubled = through_a_file(torch.export.export(double, (result,), strict=strict))
    for a, b in zip(doubled.module()(result), result, strict=True):
        assert torch.equal(a, b * 2)
    # not even a warning that the file is read in an unsafe way
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", CALLS)
def test_every_op(name):
    call = CALLS[name]
    if not call.fixed_size:
        pytest.skip("its size is not known when it is exported; see its own tests")
    program = through_a_file(torch.export.export(Module(call.outputs), call.tensors))
    for a, b in zip(program.module()(*call.tensors), call.outputs(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_packages_of_aotinductor_take_the_layout_of_their_export(tmp_path, monkeypatch):
    """Fed another memory layout they give wrong results, with torch's own convolution too (pytorch 2.11 to 2.14).

    The compiled code counts on the strides of the export. That it checks them is left to an environment variable.
    """
    layouts = (torch.contiguous_format, torch.channels_last)
    image, offset, weight = CALLS["deform_align"].tensors

    def run(x, o):
        return rx.deform_align(x, o, weight).sum(1)

    # torch 2.11 raises without the reason, which it prints
    refusal = "API call failed" if torch.__version__.startswith("2.11.") else "unmatched stride value"
    monkeypatch.setenv("AOTI_RUNTIME_CHECK_INPUTS", "1")
    for layout in layouts:
        as_exported = image.to(memory_format=layout)
        program = torch.export.export(Module(run), (as_exported, offset))
        path = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "package.pt2"))
        package = torch._inductor.aoti_load_package(path)
        torch.testing.assert_close(package(as_exported, offset), run(image, offset), rtol=1e-5, atol=1e-5)
        other = next(other for other in layouts if other != layout)
        with pytest.raises(RuntimeError, match=refusal):
            package(image.to(memory_format=other), offset)
