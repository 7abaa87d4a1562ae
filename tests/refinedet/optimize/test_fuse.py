from __future__ import annotations

import pytest
import torch
from torch import nn

from refinedet.optimize import machine
from refinedet.optimize.fuse import fuse_convolutions, relu_in_place
from refinedet.optimize.report import OptimizationReport
from refinedet.optimize.winograd import convolve

from .parts import operations, record, run

pytestmark = pytest.mark.skipif(machine.why_not_packed(torch.float32) is not None, reason="this torch has no oneDNN")
PACKED = "mkldnn._convolution_pointwise"
X = torch.randn(2, 8, 20, 20, generator=torch.Generator().manual_seed(0))


def fused(body, x=X, winograd=False):
    with torch.no_grad():
        want = body.eval()(x)
    captured, report = record(body, x), OptimizationReport("", "", "")
    fuse_convolutions(captured, report, winograd=winograd)
    relu_in_place(captured.graph)
    names = operations(captured)
    torch.testing.assert_close(run(captured, x), want, rtol=1e-4, atol=1e-4)
    return report, names


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(), nn.Sigmoid(), nn.Hardswish(), nn.Hardsigmoid(), nn.SiLU(), nn.ReLU6(), nn.Hardtanh(-0.25, 0.5)],
    ids=lambda module: type(module).__name__,
)
def test_an_activation_is_part_of_the_convolution(activation):
    report, names = fused(nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), activation))
    assert names == [f"{PACKED}.default"]
    assert (report.packed_convolutions, report.fused_activations, report.fused_sums) == (1, 1, 0)


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU()], ids=lambda module: type(module).__name__)
def test_other_activations_stay(activation):
    report, names = fused(nn.Sequential(nn.Conv2d(8, 6, 3), activation))
    assert names[0] == f"{PACKED}.default" and len(names) == 2 and report.fused_activations == 0


class Sum(nn.Module):
    def __init__(self, activation=None, alpha=1, keep=False):
        super().__init__()
        self.conv, self.activation, self.alpha, self.keep = nn.Conv2d(8, 8, 3, padding=1), activation, alpha, keep

    def forward(self, x):
        y = self.conv(x)
        out = torch.add(x, y, alpha=self.alpha)
        out = out if self.activation is None else self.activation(out)
        return out * y if self.keep else out


def test_a_sum_and_a_relu_behind_it_are_part_of_the_convolution():
    for activation, count in ((None, 0), (nn.ReLU(), 1)):
        report, names = fused(Sum(activation))
        assert names == [f"{PACKED}.binary"] and (report.fused_sums, report.fused_activations) == (1, count)
    report, names = fused(Sum(nn.Sigmoid()))  # oneDNN is asked for no other activation behind a sum
    assert names == [f"{PACKED}.binary", "aten.sigmoid.default"] and report.fused_activations == 0


@pytest.mark.parametrize("options", [{"alpha": 2}, {"keep": True}], ids=str)
def test_other_sums_stay(options):
    report, names = fused(Sum(**options))
    assert "aten.add.Tensor" in names and f"{PACKED}.default" in names and report.fused_sums == 0


def test_dilation_stride_groups_and_no_bias():
    for options in ({"dilation": 2}, {"stride": 2}, {"groups": 4}, {"bias": False}, {"padding": (1, 0)}):
        report, names = fused(nn.Conv2d(8, 8, 3, **options))
        assert names == [f"{PACKED}.default"] and report.packed_convolutions == 1, options


def test_transposed_convolutions_stay():
    report, names = fused(nn.ConvTranspose2d(8, 4, 2, 2))
    assert names == ["aten.convolution.default"] and report.plain_convolutions == 1


def test_wide_3x3_convolutions_go_by_winograd_where_asked_for():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.ReLU())
    x = torch.randn(1, 128, 20, 20)
    report, names = fused(body, x, winograd=True)
    assert names == [str(convolve)] and report.winograd_convolutions == 1 and report.packed_convolutions == 0
    report, names = fused(body, x)
    assert names == [f"{PACKED}.default"] and report.winograd_convolutions == 0


class Reread(nn.Module):
    """A product that a ReLU alone reads, or that is read again."""

    def __init__(self, again):
        super().__init__()
        self.again = again

    def forward(self, x):
        y = x * x
        return y.relu() + y if self.again else y.relu()


def test_a_relu_writes_over_what_it_alone_reads():
    assert fused(Reread(False))[1] == ["aten.mul.Tensor", "aten.relu_.default"]
    assert "aten.relu.default" in fused(Reread(True))[1]
