"""What does not depend on the image is computed once: constants, and batch norms within the weights before them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from .capture import Captured, aten
from .report import OptimizationReport

NORMS = (
    aten.native_batch_norm.default,
    aten._native_batch_norm_legit_no_training.default,
    aten.cudnn_batch_norm.default,
)
CONVOLUTION = aten.convolution.default
# with its steps as lists, or as numbers
DEFORM_ALIGN = torch.ops.refinedet_ext.deform_align.default
# position of weight and bias among the arguments
WEIGHT_AND_BIAS = {CONVOLUTION: (1, 2), DEFORM_ALIGN: (1, 5)}


def is_constant(captured: Captured, value: Any) -> bool:
    return not isinstance(value, fx.Node) or value in captured.values


def add_constant(
    captured: Captured, before: fx.Node, value: Tensor, dtype: torch.dtype, sources: Iterable[Any]
) -> fx.Node:
    """A node for `value` (float32), made of the constants `sources`, which the graph will read in `dtype`."""
    name = f"constant_{len(captured.values)}"
    captured.module.register_buffer(name, value, persistent=False)  # until `store_constants` brings the final one
    with captured.graph.inserting_before(before):
        node = captured.graph.get_attr(name)
    node.meta = {"val": torch.empty(value.shape, dtype=dtype, device="meta")}
    captured.values[node] = value
    captured.origins[node] = " ".join(captured.origins[n] for n in sources if n is not None)
    return node


def fold_constants(captured: Captured, report: OptimizationReport) -> None:
    """Runs, in float32, every operation whose inputs are all constants."""
    graph = captured.graph
    for node in list(graph.nodes):
        inputs = node.all_input_nodes
        if node.op != "call_function" or not inputs or not all(is_constant(captured, n) for n in inputs):
            continue
        if not isinstance(node.meta.get("val"), Tensor):
            continue  # several results
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: captured.values[n])
        value = node.target(*args, **kwargs)
        captured.origins[node] = str(node.target)  # two results of the same tensors
        new = add_constant(captured, node, value, node.meta["val"].dtype, (*inputs, node))
        node.replace_all_uses_with(new)
        graph.erase_node(node)
        report.constants += 1


def fold_batch_norms(captured: Captured, report: OptimizationReport) -> None:
    """Batch norms behind a convolution or a deformable one become part of its weights; the others stay.

    A norm before a convolution stays, too: the convolution's padding is not normalized.
    """
    graph = captured.graph
    for node in list(graph.nodes):
        if node.target not in NORMS:
            continue
        source, *statistics = node.args[:5]
        result = [user for user in node.users if user.args[1] == 0]
        positions = _foldable(captured, node, source, statistics)
        if positions is None:
            report.kept_norms += 1
            continue
        weight_at, bias_at = positions
        dtype = source.args[weight_at].meta["val"].dtype
        scale, shift = _affine(captured, node)
        weight = captured.values[source.args[weight_at]].double() * scale.view(-1, 1, 1, 1)
        bias = source.args[bias_at]
        shift = shift if bias is None else shift + captured.values[bias].double() * scale
        sources = (source.args[weight_at], bias, *statistics)
        source.update_arg(weight_at, add_constant(captured, source, weight.float(), dtype, sources))
        source.update_arg(bias_at, add_constant(captured, source, shift.float(), dtype, sources))
        for user in result:
            user.replace_all_uses_with(source)
        report.folded_norms += 1
    graph.eliminate_dead_code()


def _foldable(captured: Captured, norm: Any, source: Any, statistics: list[Any]) -> tuple[int, int] | None:
    """Where weight and bias stand among the arguments of the operation that this norm can be folded into."""
    positions = WEIGHT_AND_BIAS.get(source.target)
    if positions is None or len(source.users) != 1:
        return None
    if norm.target is aten.native_batch_norm.default and norm.args[5]:
        return None  # statistics of the batch
    if source.target is CONVOLUTION and source.args[6]:
        return None  # transposed: another order of weights
    constants = (*statistics, *(source.args[position] for position in positions))
    return positions if all(is_constant(captured, n) for n in constants) else None


def _affine(captured: Captured, norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a batch norm with its running statistics, in float64."""
    weight, bias, mean, variance = (None if n is None else captured.values[n].double() for n in norm.args[1:5])
    assert mean is not None and variance is not None
    eps = norm.args[6] if norm.target is aten._native_batch_norm_legit_no_training.default else norm.args[7]
    scale = torch.rsqrt(variance + float(eps))
    scale = scale if weight is None else scale * weight
    return scale, -mean * scale if bias is None else bias - mean * scale
