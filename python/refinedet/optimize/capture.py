"""A network as a flat graph of torch's operations, for one input shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from ..detectors import Detector

aten = torch.ops.aten


@dataclass
class Captured:
    """graph: inputs are the constants and the image. values: what the constants are, float32, by node.

    origins: which of the model's tensors a constant is made of. sizes: (height, width) of the maps that the anchors
    belong to.
    """

    module: fx.GraphModule
    values: dict[fx.Node, Tensor]
    origins: dict[fx.Node, str]
    sizes: tuple[tuple[int, int], ...]

    @property
    def graph(self) -> fx.Graph:
        return self.module.graph

    def count(self) -> int:
        """Operations of a run; taking a result apart is none."""
        return sum(node.op == "call_function" and "getitem" not in node.name for node in self.graph.nodes)


class _RawOutputs(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.detector.head_outputs(images)[:4])


def capture(detector: Detector, shape: tuple[int, ...], dtype: torch.dtype) -> Captured:
    """`detector.head_outputs` without the anchors, traced on tensors without memory.

    detector: in eval mode, on the CPU, in float32. shape: (B, 3, H, W). dtype: that weights and images are cast to.
    Nothing in the graph writes in place.
    """
    state = {**dict(detector.named_parameters()), **dict(detector.named_buffers())}
    names = [f"detector.{name}" for name in state]
    sizes: list[tuple[int, int]] = []

    def record_sizes(maps: Any, images: Tensor) -> Tensor:
        sizes.extend((int(m.shape[2]), int(m.shape[3])) for m in maps)
        return images.new_empty(0)

    outputs = _RawOutputs(detector)

    def run(tensors: list[Tensor], images: Tensor) -> Any:
        return functional_call(outputs, dict(zip(names, tensors, strict=True)), (images,))

    cast = [t.to(dtype) if t.is_floating_point() else t for t in state.values()]
    images = torch.empty(shape, dtype=dtype)
    detector.anchors_for = record_sizes  # type: ignore[method-assign]
    try:
        with torch.no_grad():
            module = make_fx(functionalize(run, remove="mutations"), tracing_mode="fake")(cast, images)
    finally:
        del detector.anchors_for
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    values = {node: tensor.detach() for node, tensor in zip(inputs[:-1], state.values(), strict=True)}
    _drop_copies(module.graph)
    module.graph.eliminate_dead_code()
    origins = dict(zip(inputs[:-1], names, strict=True))
    return Captured(module, values, origins, tuple(sizes))


def _drop_copies(graph: fx.Graph) -> None:
    """Nothing writes in place, so that a copy made for a reshape may be a view where the layout allows it."""
    for node in list(graph.nodes):
        if node.target not in (aten._unsafe_view.default, aten.view.default):
            continue
        source = node.args[0]
        if source.target is aten.clone.default:
            source = source.args[0]
        with graph.inserting_before(node):
            new = graph.call_function(aten.reshape.default, (source, node.args[1]))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        graph.erase_node(node)
