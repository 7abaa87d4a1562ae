from __future__ import annotations

import pytest
import torch

from refinedet.optimize.capture import aten, capture

from .networks import build, images


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_graph_computes_what_the_network_does(small, dtype):
    x = images(small, 1, 64)
    captured = capture(small, tuple(x.shape), dtype)
    constants = [value.to(dtype) for value in captured.values.values()]
    with torch.no_grad():
        got = captured.module(constants, x.to(dtype))
        want = build("refinedet320_small").to(dtype).head_outputs(x.to(dtype))
    for ours, theirs in zip(got, want[:4], strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=0.02 if dtype == torch.bfloat16 else 1e-5, atol=1e-2)


def test_constants_are_the_models_tensors_by_name(small):
    captured = capture(small, (1, 3, 64, 64), torch.float32)
    state = {f"detector.{name}": t for name, t in (*small.named_parameters(), *small.named_buffers())}
    assert set(captured.values) == set(captured.origins) and set(captured.origins.values()) == set(state)
    for node, name in captured.origins.items():
        assert torch.equal(captured.values[node], state[name])


def test_the_sizes_of_the_maps_are_noted_and_the_detector_stays(small):
    captured = capture(small, (2, 3, 64, 128), torch.float32)
    assert captured.sizes == tuple((64 // stride, 128 // stride) for stride in small.backbone.strides)
    assert "anchors_for" not in vars(small)
    assert small.head_outputs(images(small)).anchors.numel() > 0


def test_nothing_writes_in_place_and_nothing_is_copied_for_a_view(small):
    graph = capture(small, (1, 3, 64, 64), torch.float32).graph
    targets = {node.target for node in graph.nodes if node.op == "call_function"}
    assert not [t for t in targets if getattr(t, "_schema", None) is not None and t._schema.is_mutable]
    assert aten._unsafe_view.default not in targets and aten.reshape.default in targets


def test_taking_a_result_apart_is_no_operation(small):
    captured = capture(small, (1, 3, 64, 64), torch.float32)
    calls = sum(node.op == "call_function" for node in captured.graph.nodes)
    assert 0 < captured.count() < calls
