from __future__ import annotations

import io

import torch

from refinedet.outputs import HeadOutputs, single_stage_outputs


def outputs() -> HeadOutputs:
    return single_stage_outputs(torch.rand(2, 3, 4), torch.rand(2, 3, 4), torch.rand(3, 4))


class Doubled(torch.nn.Module):
    def forward(self, given: HeadOutputs) -> HeadOutputs:
        return HeadOutputs(*(part * 2 for part in given))


def test_head_outputs_go_through_an_exported_program_that_was_saved():
    file, given = io.BytesIO(), outputs()
    torch.export.save(torch.export.export(Doubled(), (given,)), file)
    file.seek(0)
    got = torch.export.load(file).module()(given)
    assert type(got) is HeadOutputs
    assert all(torch.equal(a, 2 * b) for a, b in zip(got, given, strict=True))
