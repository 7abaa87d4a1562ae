"""Aligned convolutions in OpenVINO: what ONNX Runtime computes for the same node."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import needs


def deform_file(path, bias, mask, groups=1, offset_groups=1, stride=1, dilation=1):
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(0)
    side, taps = (8 - 1) // stride + 1, 9
    inputs = ["x", "w", "offset", "b" if bias else "", "mask" if mask else ""]
    while not inputs[-1]:
        inputs.pop()
    shapes = {
        "x": (4, 8, 8),
        "offset": (2 * taps * offset_groups, side, side),
        "mask": (taps * offset_groups, side, side),
    }
    given = {name: shape for name, shape in shapes.items() if name in inputs}
    node = helper.make_node(
        "DeformConv",
        inputs,
        ["y"],
        kernel_shape=[3, 3],
        pads=[dilation] * 4,
        strides=[stride] * 2,
        dilations=[dilation] * 2,
        group=groups,
        offset_group=offset_groups,
    )
    weight = rng.standard_normal((6, 4 // groups, 3, 3)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "w")]
    if bias:
        constants.append(numpy_helper.from_array(np.arange(6, dtype=np.float32), "b"))
    graph = helper.make_graph(
        [node],
        "deform",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6, side, side])],
        constants,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return {name: rng.standard_normal((2, *shape)).astype(np.float32) * 3 for name, shape in given.items()}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("more", [{}, {"groups": 2, "offset_groups": 2}, {"stride": 2}, {"dilation": 2}])
def test_deform_conv(bias, mask, more, tmp_path):
    needs("onnx", "onnxruntime", "openvino")
    import onnxruntime
    import openvino

    from refinedet.runtimes.openvino_ops import extensions

    path = tmp_path / "deform.onnx"
    feed = deform_file(path, bias, mask, **more)
    (wanted,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)
    core = openvino.Core()
    for extension in extensions():
        core.add_extension(extension)
    found = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["efgrnet192_small", "padet192_small"])
def test_a_network_with_aligned_convolutions(name, tmp_path, cache):
    needs("onnx", "onnxscript", "onnxruntime", "openvino")
    import torch

    import refinedet
    from refinedet.runtimes import open_model

    torch.manual_seed(0)
    options = {"input_size": 128, **({"fgrm_channels": 16} if name[0] == "e" else {"decoder_channels": 16})}
    model = refinedet.create_model(name, 4, **options).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model.head_outputs(torch.randn(4, 3, 128, 128) * 50)
        for align in getattr(model, "fam", ()):  # offsets that move something: they start at zero
            torch.nn.init.normal_(align.shift.weight, std=0.1)
            torch.nn.init.normal_(align.offset.weight, std=0.1)
    path = refinedet.save_model(model.eval(), tmp_path / "model.safetensors")
    images = np.random.default_rng(1).standard_normal((3, 3, 128, 128)).astype(np.float32) * 50
    with torch.no_grad():
        wanted = model.head_outputs(torch.from_numpy(images))
    found = open_model(path, "openvino").session(images)
    for output, want in zip(wanted._fields, wanted, strict=True):
        assert np.abs(found[output] - want.numpy()).max() <= 1e-3 * float(want.abs().max()), output
