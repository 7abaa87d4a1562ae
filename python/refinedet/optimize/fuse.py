"""Convolutions with packed weights, and the activation or sum behind them in the same call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from .capture import Captured, aten
from .fold import CONVOLUTION, DEFORM_ALIGN, add_constant, is_constant
from .report import OptimizationReport
from .winograd import convolve, transform_weight, worthwhile

DECONV_SUM = torch.ops.refinedet_ext.deconv_sum.default
ADD = aten.add.Tensor

# our name of an activation, and oneDNN's numbers for it
Activation = tuple[str, tuple[float, ...]]
NONE: Activation = ("none", ())


def activation_of(node: fx.Node) -> Activation | None:
    """What this operation is called in a fused convolution; None if it is no such activation."""
    if node.target is aten.relu.default:
        return "relu", ()
    if node.target is aten.sigmoid.default:
        return "sigmoid", ()
    if node.target is aten.hardswish.default:
        return "hardswish", ()
    if node.target is aten.hardsigmoid.default:
        return "hardsigmoid", ()
    if node.target is aten.silu.default:
        return "swish", ()
    if node.target is aten.hardtanh.default:
        low, high = (*node.args[1:], -1.0, 1.0)[:2] if len(node.args) != 2 else (node.args[1], 1.0)
        return "hardtanh", (float(low), float(high))  # type: ignore[arg-type]
    return None


def fuse_convolutions(
    captured: Captured, report: OptimizationReport, *, winograd: bool, only: set[fx.Node] | None = None
) -> None:
    """Replaces every convolution of constant weights by a packed one, or Winograd's where that is asked for and faster,
    with what follows it where nothing else reads the result between: an activation, or the sum with another map and an
    activation. only: the convolutions to replace; None is all."""
    for node in list(captured.graph.nodes):
        if node.target is not CONVOLUTION or (only is not None and node not in only):
            continue
        x, weight, bias, stride, padding, dilation, transposed, _, groups = node.args
        if transposed or len(stride) != 2 or not is_constant(captured, weight) or not is_constant(captured, bias):
            report.plain_convolutions += 1
            continue
        geometry = (list(padding), list(stride), list(dilation), groups)
        last, other = node, summand(node)
        if other is not None:
            (last,) = node.users
            report.fused_sums += 1
        activation = NONE
        users = list(last.users)
        # of what may follow a sum oneDNN is asked for a ReLU only
        if len(users) == 1:
            found = activation_of(users[0])
            if found is not None and (other is None or found[0] == "relu"):
                activation, last = found, users[0]
                report.fused_activations += 1
        name, numbers = activation
        with captured.graph.inserting_before(last):
            if winograd and name in ("none", "relu") and worthwhile(x.meta["val"], weight.meta["val"], geometry):
                transformed = stored(captured, last, weight, "winograd", None)
                new = captured.graph.call_function(convolve, (x, transformed, bias, name == "relu", other))
                report.winograd_convolutions += 1
                new.meta = dict(last.meta)
                last.replace_all_uses_with(new)
                continue
            packed = stored(captured, last, weight, "packed", (*geometry, list(x.meta["val"].shape)))
            if other is None:
                new = captured.graph.call_function(
                    torch.ops.mkldnn._convolution_pointwise.default,
                    (x, packed, bias, *geometry, name, list(numbers), ""),
                )
            else:
                unary = None if name == "none" else name
                new = captured.graph.call_function(
                    torch.ops.mkldnn._convolution_pointwise.binary,
                    (x, other, packed, bias, *geometry, "add", 1.0, unary, [], None),
                )
        report.packed_convolutions += 1
        new.meta = dict(last.meta)
        last.replace_all_uses_with(new)
    captured.graph.eliminate_dead_code()


def summand(conv: fx.Node) -> fx.Node | None:
    """The other map of the sum that alone reads this convolution; None if there is no such sum."""
    if len(conv.users) != 1:
        return None
    (user,) = conv.users
    if user.target is not ADD or user.kwargs.get("alpha", 1) != 1:
        return None
    left, right = user.args
    other = right if left is conv else left
    if other is conv or not isinstance(other, fx.Node):
        return None
    same = all(getattr(other.meta["val"], k) == getattr(conv.meta["val"], k) for k in ("shape", "dtype"))
    return other if same else None


def stored(captured: Captured, before: fx.Node, weight: fx.Node, form: str, geometry: Any) -> fx.Node:
    """The weight node, marked to be stored in another form: "winograd", or "packed" in oneDNN's order for an input."""
    node = add_constant(captured, before, captured.values[weight], weight.meta["val"].dtype, (weight,))
    node.meta |= {"form": form, "geometry": geometry}
    return node


def relu_in_place(graph: fx.Graph) -> None:
    """A ReLU that alone reads the new result of an operation writes over it."""
    fresh = (DEFORM_ALIGN, ADD, aten.mul.Tensor, CONVOLUTION)
    for node in graph.nodes:
        if node.target is aten.relu.default and node.args[0].target in fresh and len(node.args[0].users) == 1:
            node.target = aten.relu_.default


def _in_form(weight: Tensor, form: str, geometry: Any) -> Tensor:
    if form == "winograd":
        return transform_weight(weight)
    return torch.ops.mkldnn._reorder_convolution_weight(weight.contiguous(), *geometry)


def store_constants(captured: Captured, cache: dict[str, Tensor]) -> None:
    """Gives every constant its tensor, in the graph's dtype and channels-last; other forms are made once.

    cache: weights in other forms, of all shapes of this network.
    """
    module, graph = captured.module, captured.graph
    used = {node: value for node, value in captured.values.items() if node.users}
    for name in list(module._buffers):
        delattr(module, name)
    for number, (node, value) in enumerate(used.items()):
        name = f"constant_{number}"
        value = value.to(node.meta["val"].dtype)
        form = node.meta.get("form")
        if form is not None:
            key = f"{form} {captured.origins[node]}"
            if key not in cache:
                cache[key] = _in_form(value, form, node.meta["geometry"])
            value = cache[key]
        elif value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        module.register_buffer(name, value, persistent=False)
        with graph.inserting_before(node):
            new = graph.get_attr(name)
        node.replace_all_uses_with(new)
    for node in captured.values:
        if not node._erased:
            graph.erase_node(node)
    graph.set_codegen(fx.graph.CodeGen())  # the arguments are no longer those that were recorded
