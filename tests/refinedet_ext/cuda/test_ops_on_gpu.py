"""What only a GPU shows of the ops: streams, graphs, waiting, devices, size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import refinedet_ext as rx

from .calls import CALLS, on, same


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


@pytest.fixture(params=[name for name, call in CALLS.items() if call.capturable])
def capturable_call(request):
    """All but those whose result's length depends on the data: they are documented to wait once, at the end."""
    return CALLS[request.param]


@pytest.fixture
def full_float32() -> Iterator[None]:
    """Matrix products and convolutions in float32, not TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


pytestmark = pytest.mark.usefixtures("full_float32")


def test_equals_the_cpu(call):
    for seed in range(3):
        inputs = call.inputs(seed)
        same(call, call.run(*on("cuda", inputs)), call.run(*inputs))


def test_repeats_its_bits(call):
    """Also where a sum could be taken in another order each time, once that is asked for."""
    inputs = on("cuda", call.inputs(0))
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        first = call.run(*inputs)
        for _ in range(5):
            for a, b in zip(call.run(*inputs), first, strict=True):
                assert torch.equal(a, b)
    finally:
        torch.use_deterministic_algorithms(False)


def test_does_not_wait_for_the_gpu(capturable_call):
    call = capturable_call
    inputs = on("cuda", call.inputs(0))
    call.run(*inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        call.run(*inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_captures_in_a_graph(capturable_call):
    call = capturable_call
    inputs = on("cuda", call.inputs(0))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call.run(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call.run(*inputs)
    for seed in (1, 2):
        fresh = call.inputs(seed)
        for tensor, values in zip(inputs, fresh, strict=True):
            tensor.copy_(values)
        for result in results:
            result.fill_(True if result.dtype == torch.bool else 7)
        graph.replay()
        torch.cuda.synchronize()
        same(call, results, call.run(*fresh))


def test_runs_on_the_current_stream(call):
    """Two streams at a time, each with inputs that arrive late on it."""
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    inputs = [call.inputs(seed) for seed in range(2)]
    expected = [call.run(*values) for values in inputs]
    blocker = torch.ones(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(3):
        results = []
        for stream, values in zip(streams, inputs, strict=True):
            with torch.cuda.stream(stream):
                late = [torch.full_like(t, 1, device="cuda") for t in values]
                for _ in range(8):
                    blocker @ blocker
                for tensor, value in zip(late, values, strict=True):
                    tensor.copy_(value.pin_memory(), non_blocking=True)
                results.append(call.run(*late))
        torch.cuda.synchronize()
        for result, reference in zip(results, expected, strict=True):
            same(call, result, reference)


def test_opcheck_on_the_gpu():
    deltas, anchors = on("cuda", CALLS["decode_boxes"].inputs(0))
    torch.library.opcheck(torch.ops.refinedet_ext.decode_boxes.default, (deltas, anchors, [0.1, 0.1, 0.2, 0.2], None))
    outputs = on("cuda", CALLS["detect"].inputs(0))
    rest = (0.99, [0.1, 0.1, 0.2, 0.2], None, 0.01, 0.45, None, 400, 200, "hard", 0.5, 0.001)
    torch.library.opcheck(torch.ops.refinedet_ext.detect.default, (*outputs, *rest))


def test_tensors_on_two_devices():
    boxes, scores, _ = CALLS["batched_nms"].inputs(0)
    with pytest.raises(ValueError, match="scores: expected device cuda:0 as boxes has, got cpu"):
        rx.nms(boxes.cuda(), scores, 0.5)
    with pytest.raises(
        RuntimeError, match="scores: expected a tensor on cuda:0 like the other arguments, got one on cpu"
    ):
        torch.ops.refinedet_ext.nms(boxes.cuda(), scores, 0.5)


def test_float64_is_refused_or_right():
    boxes, scores, _ = CALLS["batched_nms"].inputs(0)
    with pytest.raises(RuntimeError, match="boxes: expected float32, float16 or bfloat16 on a GPU, got float64"):
        rx.nms(boxes.double().cuda(), scores.cuda(), 0.5)


@pytest.mark.parametrize("groups", [1, 1000])
def test_a_million_boxes(groups):
    rng = torch.Generator().manual_seed(0)
    count = 1_000_000
    centers = torch.rand(2000, 2, generator=rng)[torch.randint(2000, (count,), generator=rng)]
    centers = centers + 0.002 * torch.randn(count, 2, generator=rng)
    half = 0.005 + 0.005 * torch.rand(count, 2, generator=rng)
    boxes, scores = torch.cat([centers - half, centers + half], dim=1), torch.rand(count, generator=rng)
    idxs = torch.randint(groups, (count,), generator=rng)
    expected = rx.batched_nms(boxes, scores, idxs, 0.3)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    inputs = boxes.cuda(), scores.cuda(), idxs.cuda()
    before = torch.cuda.memory_allocated()
    got = rx.batched_nms(*inputs, 0.3)
    assert torch.cuda.max_memory_allocated() - before < 320e6  # linear in the number of boxes
    assert torch.equal(got.cpu(), expected)


def test_a_million_anchors():
    rng = torch.Generator().manual_seed(0)

    def boxes(count: int) -> torch.Tensor:
        low = torch.rand(count, 2, generator=rng)
        return torch.cat([low, low + 0.002 + 0.03 * torch.rand(count, 2, generator=rng)], dim=1)

    anchors, truth = boxes(1_000_000), boxes(2000)
    arguments = anchors, truth, torch.ones(2000, dtype=torch.int64), torch.tensor([0, 2000])
    expected = rx.match_anchors(*arguments)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    got = rx.match_anchors(*on("cuda", arguments))
    assert torch.cuda.max_memory_allocated() - before < 100e6  # 8 GB would be the matrix
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a.cpu(), b)
