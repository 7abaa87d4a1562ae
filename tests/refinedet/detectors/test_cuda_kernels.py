"""RefineDet from anchors to detections on the CUDA kernels: emulated on the CPU where there is no GPU."""

from __future__ import annotations

import copy

import pytest
import torch

from ...support.cuda_kernels import find
from .test_refinedet import make_batch, tiny

pytestmark = pytest.mark.cuda


def step(model, batch):
    losses = model.loss(model(batch.images), batch)
    losses["total"].backward()
    return losses


def test_trains_and_detects_as_on_the_cpu_kernels():
    kernels = find()
    if isinstance(kernels, str):
        pytest.skip(kernels)
    model, batch = tiny(), make_batch([3, 0])
    moved = copy.deepcopy(model)
    expected = step(model, batch)
    with kernels:
        losses = step(moved, batch)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5)
    for (name, a), b in zip(moved.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3, msg=lambda m, name=name: f"{name}: {m}")

    model.eval()
    outputs = model.head_outputs(batch.images)
    found = model.detect(outputs)
    with kernels:
        again = model.detect(outputs)
    assert found.count.sum() > 0
    for a, b in zip(again, found, strict=True):
        assert torch.equal(a, b)
