from __future__ import annotations

import pytest
import torch
from torch import nn

import refinedet_ext.nn as rxnn
from refinedet.optimize.fold import NORMS, fold_batch_norms, fold_constants
from refinedet.optimize.report import OptimizationReport

from .parts import lively, operations, record, run


def folded(body, x):
    torch.manual_seed(0)
    with torch.no_grad():
        want = body.eval()(x)
    captured, report = record(body, x), OptimizationReport("", "", "")
    fold_constants(captured, report)
    fold_batch_norms(captured, report)
    norms = [name for name in operations(captured) if name in {str(norm) for norm in NORMS}]
    torch.testing.assert_close(run(captured, x), want, rtol=1e-4, atol=1e-4)
    assert len(norms) == report.kept_norms
    return report


class Twice(nn.Module):
    """The convolution's output is read by the norm and by something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), lively(nn.BatchNorm2d(4))

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


class Aligned(nn.Module):
    """Deformable alignment without an offset of its own, and a norm behind it."""

    def __init__(self, bias):
        super().__init__()
        self.offset = nn.Conv2d(3, 18, 3, padding=1)
        self.align, self.norm = rxnn.DeformAlign(3, 4, 3, padding=1, bias=bias), lively(nn.BatchNorm2d(4))

    def forward(self, x):
        return self.norm(self.align(x, self.offset(x)))


X = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "body",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), lively(nn.BatchNorm2d(4))),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), lively(nn.BatchNorm2d(4, eps=0.1))),
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), lively(nn.BatchNorm2d(6, affine=False))),
        lambda: Aligned(True),
        lambda: Aligned(False),
    ],
    ids=["bias", "no bias", "groups, no affine", "aligned", "aligned, no bias"],
)
def test_a_norm_goes_into_the_weights_before_it(body):
    report = folded(body(), X)
    assert (report.folded_norms, report.kept_norms) == (1, 0)


@pytest.mark.parametrize(
    "body",
    [
        lambda: nn.Sequential(lively(nn.BatchNorm2d(3)), nn.Conv2d(3, 4, 3, padding=1)),
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, 2), lively(nn.BatchNorm2d(4))),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), lively(nn.BatchNorm2d(4))),
        Twice,
    ],
    ids=["before the convolution", "transposed", "activation between", "read twice"],
)
def test_other_norms_stay(body):
    report = folded(body(), X)
    assert (report.folded_norms, report.kept_norms) == (0, 1)


class Scaled(nn.Module):
    """An L2 norm's weight, shaped and squared in every call."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return x * (self.weight.view(1, -1, 1, 1) ** 2 + 1)


def test_what_depends_on_weights_alone_is_computed_once():
    body = Scaled()
    captured, report = record(body, X), OptimizationReport("", "", "")
    before = captured.count()
    fold_constants(captured, report)
    assert report.constants == before - 1 == 3 and operations(captured) == ["aten.mul.Tensor"]
    torch.testing.assert_close(run(captured, X), body(X).detach())
