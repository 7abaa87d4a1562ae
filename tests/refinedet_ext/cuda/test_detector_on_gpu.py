"""RefineDet on a GPU: a step of training, detection, and its whole inference in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch

import refinedet

from ...refinedet.detectors.test_refinedet import make_batch, tiny


def test_trains_one_step_and_detects():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model, batch = tiny(), make_batch([3, 0, 5])
    other = copy.deepcopy(model).cuda()
    on_gpu = batch.to("cuda")
    losses, theirs = model.loss(model(batch.images), batch), other.loss(other(on_gpu.images), on_gpu)
    for name, value in losses.items():
        torch.testing.assert_close(theirs[name].cpu(), value, rtol=1e-3, atol=1e-3)
    before = [p.detach().clone() for p in other.parameters()]
    optimizer = torch.optim.SGD(other.parameters(), lr=1e-3)
    theirs["total"].backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))
    assert all(p.isfinite().all() for p in other.parameters())
    found = other.eval()(on_gpu.images)
    assert found.boxes.is_cuda and found.boxes.isfinite().all()


def test_detects_what_the_cpu_detects():
    model = tiny().eval()
    outputs = model.head_outputs(make_batch([1, 1]).images)
    on_gpu = type(outputs)(*(t.cuda() for t in outputs))
    for a, b in zip(model.detect(on_gpu), model.detect(outputs), strict=True):
        assert torch.equal(a.cpu(), b)


@pytest.mark.parametrize("name", ["refinedet320_vgg16"])
def test_whole_inference_in_a_graph(name):
    """From the image on the GPU to detections on the GPU, in bfloat16."""
    model = refinedet.create_model(name, 21).cuda().eval().to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 320, 320, device="cuda") * 50
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model(images)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = model(images)
        images.copy_(torch.randn_like(images) * 50)
        graph.replay()
        expected = model(images)
    torch.testing.assert_close(found.count, expected.count)
    torch.testing.assert_close(found.scores, expected.scores, rtol=2e-2, atol=2e-2)
