"""Convolutions on maps in panels of pixels, by this project's kernel (csrc/cpu/panel_conv.h): nothing is rearranged
between them, parts of the channels are read and written in place, and sums and activations on both sides of a
convolution go into its call."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from .capture import Captured, aten
from .fold import CONVOLUTION, is_constant
from .fuse import ADD, fuse_convolutions, stored, summand
from .report import OptimizationReport
from .winograd import worthwhile

OPS = torch.ops.refinedet_ext
CONV, TO_PANELS, FROM_PANELS = OPS._panel_conv.default, OPS._to_panels.default, OPS._from_panels.default
MAX_POOL = aten.max_pool2d_with_indices.default
RELU = aten.relu.default
ELEMENTWISE = (ADD, RELU, aten.mul.Tensor, aten.sigmoid.default)
LEAST_CHANNELS = 4  # of a group: a depthwise convolution would waste most of a tile
KNOWN = {(1, 1, 0), (3, 1, 1), (3, 2, 1)}  # kernel, stride, padding


def panel_convolutions(captured: Captured, report: OptimizationReport, *, winograd: bool) -> None:
    """Replaces the convolutions behind the last max pooling, where maps have many channels of few pixels, and what
    stands between them. Those before it, those that the kernel does not know and those that Winograd's filtering serves
    better become what `fuse_convolutions` makes of them."""
    before = _before_last_pool(captured.graph)
    convolutions = {node for node in captured.graph.nodes if node.target is CONVOLUTION}
    own = {n for n in convolutions - before if _serves(captured, n, winograd=winograd)}
    fuse_convolutions(captured, report, winograd=winograd, only=convolutions - own)
    before = _before_last_pool(captured.graph)
    panels = _Panels(captured, report, own)
    for node in [n for n in captured.graph.nodes if n.op == "call_function" and n not in before]:
        panels.visit(node)
    panels.finish()
    captured.graph.eliminate_dead_code()


def _before_last_pool(graph: fx.Graph) -> set[fx.Node]:
    """All that the last max pooling depends on."""
    left = [node for node in graph.nodes if node.target is MAX_POOL][-1:]
    found = set(left)
    while left:
        new = [n for n in left.pop().all_input_nodes if n not in found]
        found.update(new)
        left += new
    return found


def _geometry(node: Any) -> tuple[int, int, int] | None:
    """Kernel, stride and groups; None for a convolution that the kernel does not know."""
    _, weight, _, stride, padding, dilation, transposed, _, groups = node.args
    sides = [{int(n) for n in pair} for pair in (weight.meta["val"].shape[2:], stride, padding)]
    if transposed or set(dilation) != {1} or any(len(side) != 1 for side in sides):
        return None
    kernel, step, edge = (side.pop() for side in sides)
    return (kernel, step, groups) if (kernel, step, edge) in KNOWN else None


def _serves(captured: Captured, node: Any, *, winograd: bool) -> bool:
    """Whether a convolution goes to the kernel for panels."""
    x, weight, bias, stride, padding, dilation, _, _, groups = node.args
    geometry = (list(padding), list(stride), list(dilation), groups)
    if _geometry(node) is None or not (is_constant(captured, weight) and is_constant(captured, bias)):
        return False
    if winograd and worthwhile(x.meta["val"], weight.meta["val"], geometry):
        return False
    return weight.meta["val"].shape[0] // groups >= LEAST_CHANNELS


class _Panels:
    """twins: nodes for values in panels, by the node that has the value as maps, which stays until all is written.

    own: the convolutions to replace. absorbed: nodes that went into the call of a convolution.
    """

    def __init__(self, captured: Captured, report: OptimizationReport, own: set[fx.Node]) -> None:
        self.captured, self.graph, self.report, self.own = captured, captured.graph, report, own
        self.order = {node: number for number, node in enumerate(self.graph.nodes)}
        self.twins: dict[fx.Node, fx.Node] = {}
        self.absorbed: set[fx.Node] = set()

    def visit(self, node: Any) -> None:
        if node in self.absorbed or node in self.twins:
            return
        if node in self.own:
            self._convolution(node)
        elif node.target in ELEMENTWISE and self._same_maps(node):
            with self.graph.inserting_before(node):
                args = [self._panels_of(n) if isinstance(n, fx.Node) else n for n in node.args]
                self._stands_for(node, self.graph.call_function(node.target, tuple(args), node.kwargs))
        elif node.target is aten.cat.default and node.args[1:] == (1,) and all(n in self.twins for n in node.args[0]):
            self._join(node, list(node.args[0]))
        elif node.target is operator.getitem:
            self._part(node)

    def finish(self) -> None:
        """What else reads a value that is there in panels reads a copy of it."""
        for node, twin in self.twins.items():
            if twin.target is TO_PANELS or not node.users:
                continue
            height, width = node.meta["val"].shape[2:]
            with self.graph.inserting_after(twin):
                maps = self.graph.call_function(FROM_PANELS, (twin, int(height), int(width)))
            maps.meta = dict(node.meta)
            node.replace_all_uses_with(maps)

    def _convolution(self, node: Any) -> None:
        """Turns conv, relu(conv), conv + y, relu(conv) + y, with or without a ReLU behind, of x or of x + z, into one
        call."""
        x, weight, bias = node.args[:3]
        geometry = _geometry(node)
        assert geometry is not None  # `_serves` asked for it
        kernel, stride, groups = geometry
        nodes = [node, *_relu_after(node)]
        relu, last_relu = len(nodes) > 1, False
        shortcut = summand(nodes[-1])
        if shortcut is not None and self.order[shortcut] > self.order[node]:
            shortcut = None  # the sum belongs to the convolution that comes last
        if shortcut is not None:
            nodes += nodes[-1].users
            after = _relu_after(nodes[-1])
            last_relu = len(after) > 0
            nodes += after
        addend = None
        if kernel == 3 and x.target is ADD and len(x.users) == 1 and self._same_maps(x) and _plain_sum(x):
            x, addend = x.args
        self.report.fused_activations += relu + last_relu
        self.report.fused_sums += (shortcut is not None) + (addend is not None)
        self.report.panel_convolutions += 1
        self.absorbed.update(nodes[:-1])
        height, width = (int(side) for side in x.meta["val"].shape[2:])
        with self.graph.inserting_before(nodes[-1]):
            x, addend, shortcut = (None if n is None else self._panels_of(n) for n in (x, addend, shortcut))
            form = stored(self.captured, nodes[-1], weight, "panels", groups)
            channels = int(weight.meta["val"].shape[0])
            args = (x, addend, form, bias, channels, height, width, kernel, stride, groups, relu, shortcut, last_relu)
            self._stands_for(nodes[-1], self.graph.call_function(CONV, args))

    def _join(self, cat: Any, parts: list[fx.Node]) -> None:
        """A concatenation whose convolutions write their part of it themselves."""
        channels = [int(n.meta["val"].shape[1]) for n in parts]
        twins = [self.twins[n] for n in parts]
        writers = {i for i, n in enumerate(twins) if n.target is CONV and n not in twins[:i]}
        batch, pixels = int(cat.meta["val"].shape[0]), int(cat.meta["val"].shape[2:].numel())
        panel = OPS._panel_size()
        first = min((twins[i] for i in writers), key=list(self.graph.nodes).index, default=cat)
        with self.graph.inserting_before(first):
            size = (batch, -(-pixels // panel), sum(channels), panel)
            whole = self.graph.call_function(torch.empty, (size,), {"dtype": torch.float32})
        written: list[fx.Node] = []
        for i, twin in enumerate(twins):
            with self.graph.inserting_before(twin if i in writers else cat):
                place = self._channels(whole, sum(channels[:i]), channels[i])
                if i in writers:
                    args = (place, *twin.args[:4], *twin.args[5:])
                    written.append(self.graph.call_function(written_to, args))
                else:
                    written.append(self.graph.call_function(copied_to, (place, self.twins[parts[i]])))
            if i in writers:
                twin.replace_all_uses_with(written[-1])
                self.twins[parts[i]] = written[-1]
                self.graph.erase_node(twin)
        with self.graph.inserting_before(cat):
            self._stands_for(cat, self.graph.call_function(joined, (whole, *written)))

    def _part(self, node: Any) -> None:
        """One of the results of a split of the channels."""
        split, number = node.args
        if split.target is not aten.split.Tensor or split.args[2:] != (1,) or split.args[0] not in self.twins:
            return
        whole, size = split.args[:2]
        with self.graph.inserting_before(node):
            channels = int(node.meta["val"].shape[1])
            self._stands_for(node, self._channels(self.twins[whole], number * size, channels))

    def _channels(self, panels: fx.Node, first: int, count: int) -> fx.Node:
        return self.graph.call_function(aten.slice.Tensor, (panels, 2, first, first + count))

    def _stands_for(self, node: fx.Node, twin: fx.Node) -> None:
        self.twins[node] = twin
        self.absorbed.discard(node)

    def _panels_of(self, node: fx.Node) -> fx.Node:
        """The value in panels: a copy where it is there as maps only."""
        if node not in self.twins:
            with self.graph.inserting_after(node):
                self.twins[node] = self.graph.call_function(TO_PANELS, (node,))
        return self.twins[node]

    def _same_maps(self, node: Any) -> bool:
        """Whether an operation goes pixel by pixel over maps of one shape, of which some are there in panels."""
        inputs = node.all_input_nodes
        kinds = {(tuple(n.meta["val"].shape), n.meta["val"].dtype) for n in (*inputs, node)}
        return len(kinds) == 1 and node.meta["val"].dim() == 4 and any(n in self.twins for n in inputs)


def _plain_sum(add: Any) -> bool:
    """Of two maps, not of a map and a number, nor of one and a multiple of the other."""
    return not add.kwargs and len(add.args) == 2 and all(isinstance(n, fx.Node) for n in add.args)


def _relu_after(node: Any) -> list[Any]:
    users = list(node.users)
    return users if len(users) == 1 and users[0].target is RELU else []


def written_to(out: Tensor, *args: Any) -> Tensor:
    OPS._panel_conv_out(*args, out)
    return out


def copied_to(out: Tensor, part: Tensor) -> Tensor:
    return out.copy_(part)


def joined(whole: Tensor, *parts: Tensor) -> Tensor:
    """The whole, when all its parts are written."""
    return whole
