"""The graph of RefineDetLite: one for torch.compile, one for torch.export."""

from __future__ import annotations

import torch

from .test_refinedet import Raw
from .test_refinedetlite import shallow


def test_the_raw_network_compiles_in_one_graph_and_exports():
    raw = Raw(shallow(extras=(), anchor_sizes=(32, 64)).eval())  # two levels, which has every kind of layer
    images = torch.randn(1, 3, 192, 192)
    torch.compiler.reset()
    with torch.no_grad():
        want = raw(images)
        compiled = torch.compile(raw, backend="aot_eager", fullgraph=True)
        exported = torch.export.export(raw, (images,)).module()
        for run in (compiled, exported):
            for a, b in zip(run(images), want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
