"""Size and work of the registered models, counted and not typed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import refinedet_ext as rx  # noqa: F401  (brings the ops whose work is counted)

from .detectors.published_text import published_cell, sources
from .registry import create_model


@dataclass(frozen=True)
class Complexity:
    """Of one model at its own input size.

    input_size: side in pixels. anchors: of one image. parameters: trained numbers. macs: multiply-adds of the
    convolutions and matrix products for one image, the way papers count them: no norms, activations or decoding.
    """

    name: str
    input_size: int
    anchors: int
    parameters: int
    macs: int


def _deconv_sum_flops(input: Any, weight: Any, bias: Any, lateral: Any, relu: bool, *, out_shape: Any = None) -> int:
    """Two per multiply-add; input (B, Ci, H, W), weight (Ci, Co, 2, 2)."""
    return 2 * prod(input) * prod(weight[1:])


def _deform_align_flops(input: Any, weight: Any, *others: Any, out_shape: Any = None) -> int:
    """Of the products; the sampling is not counted, as with the peers' deformable convolution."""
    batch, out_channels, height, width = out_shape
    return 2 * batch * height * width * prod(weight)


def measure(name: str, num_classes: int = 21, **options: Any) -> Complexity:
    """Builds the model without memory for its weights and runs it once; options as `create_model`."""
    with torch.device("meta"):
        model = create_model(name, num_classes, **options).eval()
    side = model.config.input_size
    formulas = {
        torch.ops.refinedet_ext.deconv_sum: _deconv_sum_flops,
        torch.ops.refinedet_ext.deform_align: _deform_align_flops,
    }
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        outputs = model.head_outputs(torch.empty(1, 3, side, side, device="meta"))
    parameters = sum(p.numel() for p in model.parameters())
    return Complexity(name, side, outputs.odm_deltas.shape[1], parameters, counter.get_total_flops() // 2)


def markdown_table(names: Iterable[str], num_classes: int = 21) -> str:
    """One row per model, with the accuracy that its paper gives."""
    lines = ["| model | input | anchors | parameters | GMACs | published |", "|---|---|---|---|---|---|"]
    for name in names:
        m = measure(name, num_classes)
        size = f"{m.input_size} | {m.anchors:,} | {m.parameters:,} | {m.macs / 1e9:.1f}"
        lines.append(f"| `{name}` | {size} | {published_cell(name)} |")
    return "\n".join([*lines, "", sources()])
