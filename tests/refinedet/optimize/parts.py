"""Small modules in the place of a detector, recorded as `capture` records one."""

from __future__ import annotations

import torch
from torch import nn

from refinedet.optimize.capture import Captured, capture
from refinedet.optimize.fuse import store_constants


class Part(nn.Module):
    """What `capture` asks of a detector: four outputs, of which one matters here."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body.eval().requires_grad_(False)

    def anchors_for(self, maps, images):
        return images.new_empty(0)

    def head_outputs(self, images):
        out = self.body(images)
        return out, out, out, out, images.new_empty(0)


def record(body: nn.Module, x: torch.Tensor, dtype: torch.dtype = torch.float32) -> Captured:
    return capture(Part(body), tuple(x.shape), dtype)  # type: ignore[arg-type]


def run(captured: Captured, x: torch.Tensor) -> torch.Tensor:
    """What the rewritten graph gives."""
    store_constants(captured, {})
    captured.graph.lint()
    captured.module.recompile()
    with torch.no_grad():
        return captured.module(x.contiguous(memory_format=torch.channels_last))[0]


def operations(captured: Captured) -> list[str]:
    return [str(node.target) for node in captured.graph.nodes if node.op == "call_function"]


def lively(norm: nn.Module) -> nn.Module:
    """A norm that does something."""
    for name, low, high in (("weight", 0.5, 1.5), ("bias", -1, 1), ("running_mean", -1, 1), ("running_var", 0.5, 2)):
        tensor = getattr(norm, name, None)
        if tensor is not None:
            torch.nn.init.uniform_(tensor, low, high)
    return norm
