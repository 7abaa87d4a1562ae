"""The graphs of RefineDet on the residual and the mobile networks: one for torch.compile, one for torch.export."""

from __future__ import annotations

import pytest
import torch

from .test_refinedet import Raw
from .test_refinedet_backbones import TINY, tiny

# tracing takes its time for every block, whatever its width: one network with few blocks, one with many
QUICK = ("refinedet320_resnet101", "refinedet320_shufflenet_v2")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TINY]


@pytest.mark.parametrize("name", NAMES)
def test_the_raw_network_compiles_in_one_graph_and_exports(name):
    raw, images = Raw(tiny(name).eval()), torch.randn(1, 3, 128, 128)
    torch.compiler.reset()  # every entry is a recompilation of the same function
    with torch.no_grad():
        want = raw(images)
        compiled = torch.compile(raw, backend="aot_eager", fullgraph=True)
        exported = torch.export.export(raw, (images,)).module()
        for run in (compiled, exported):
            for a, b in zip(run(images), want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
