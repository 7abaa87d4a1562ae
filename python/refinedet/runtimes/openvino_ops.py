"""Operations that OpenVINO has under another name than ONNX, and does not translate itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset8
from openvino.frontend.onnx import ConversionExtension


def extensions() -> list[ConversionExtension]:
    """For `openvino.Core.add_extension`, before a core reads an ONNX file with aligned convolutions in it."""
    return [ConversionExtension("DeformConv", _deform_conv)]


def _deform_conv(node: Any) -> Any:
    """DeformConv of opset 19, as `export.onnx_ops` writes it, all attributes given."""
    count = node.get_input_size()
    data, weight, offset = (node.get_input(place) for place in range(3))
    bias, mask = (_given(node, place) if place < count else None for place in (3, 4))
    pads = node.get_attribute("pads")
    out = opset8.deformable_convolution(
        data,
        offset,
        weight,
        strides=node.get_attribute("strides"),
        pads_begin=pads[:2],
        pads_end=pads[2:],
        dilations=node.get_attribute("dilations"),
        **({} if mask is None else {"mask": mask}),
        group=node.get_attribute("group"),
        deformable_group=node.get_attribute("offset_group"),
        bilinear_interpolation_pad=True,  # what lies outside is zero, also where a tap is partly inside
    )
    if bias is not None:
        shape = opset8.constant(np.array([1, -1, 1, 1], np.int64))
        out = opset8.add(out, opset8.reshape(bias, shape, special_zero=False))
    return out.outputs()


def _given(node: Any, place: int) -> Any:
    """An input that may be left out in the middle."""
    value = node.get_input(place)
    return None if value.get_node().get_type_name() == "NullNode" else value
