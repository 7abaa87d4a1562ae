"""torch.compile of every op in one graph, with its gradients and with numbers that change from call to call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import refinedet_ext as rx

from .calls import CALLS


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):  # for nms
        yield
    torch._dynamo.reset()


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def test_every_op(call):
    for a, b in zip(compiled(call.outputs)(*call.tensors), call.outputs(), strict=True):
        assert torch.equal(a, b)


def test_gradients(differentiable):
    leaves = differentiable.leaves()
    wanted = [leaves[i] for i in differentiable.differentiable]
    got = torch.autograd.grad(compiled(differentiable.loss)(*leaves), wanted)
    for a, b in zip(got, differentiable.gradients(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_compiled_autograd(differentiable):
    leaves = differentiable.leaves()
    loss = differentiable.loss(*leaves)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
        loss.backward()
    for i, expected in zip(differentiable.differentiable, differentiable.gradients(), strict=True):
        torch.testing.assert_close(leaves[i].grad, expected, rtol=1e-5, atol=1e-5)


def test_func_grad(differentiable):
    """A transform inside of what is compiled."""
    got = compiled(torch.func.grad(differentiable.loss))(*differentiable.tensors)
    torch.testing.assert_close(got, differentiable.gradients()[0], rtol=1e-5, atol=1e-5)


def test_vmap(differentiable):
    first, *others = differentiable.tensors
    several = torch.stack([first, first * 0.9])
    mapped = torch.vmap(differentiable.outputs, in_dims=(0, *[None] * len(others)))
    for a, b in zip(compiled(mapped)(several, *others), mapped(several, *others), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def of(name: str, **extra: Tensor):
    function, tensors = getattr(rx, name), CALLS[name].tensors
    return lambda setting, value: function(*tensors, **extra, **{setting: value})


NUMBERS = {
    "mine_hard_negatives": {"ratio": [1.0, 1.5, 2.0], "min_negatives": [1, 2, 3]},
    "mined_cross_entropy": {"ratio": [1.0, 1.5, 2.0], "min_negatives": [1, 2, 3]},
    "smooth_l1_box_loss": {"beta": [0.5, 0.25, 0.125]},
    "filter_anchors": {"theta": [0.5, 0.6, 0.7]},
    "filter_anchors_mask": {"theta": [0.5, 0.6, 0.7]},
    "match_anchors": {"positive_iou": [0.3, 0.4, 0.6], "negative_iou": [0.2, 0.3, 0.4], "ignore_iof": [0.3, 0.4, 0.6]},
    "nms": {"iou_threshold": [0.1, 0.2, 0.3]},
    "batched_nms": {"iou_threshold": [0.1, 0.2, 0.3]},
    "batched_nms_padded": {"iou_threshold": [0.1, 0.2, 0.3]},
    "multiclass_nms": {
        "score_threshold": [0.1, 0.2, 0.3],
        "iou_threshold": [0.1, 0.2, 0.3],
        "top_k_per_class": [2, 3, 4],
        "top_k": [3, 5, 7],
        "keep_top_k": [3, 5, 7],
    },
    "detect": {"theta": [0.5, 0.6, 0.7], "score_threshold": [0.1, 0.2, 0.3], "keep_top_k": [3, 5, 7]},
    "deform_align": {"padding": [(1, 1), (2, 2)]},
}


@pytest.mark.parametrize(("name", "setting"), [(name, key) for name, keys in NUMBERS.items() for key in keys])
def test_a_number_that_changes(name, setting):
    call = of(name)
    if name == "deform_align":
        image, _, weight = CALLS[name].tensors
        call = lambda setting, value: rx.deform_align(image, None, weight, **{setting: value})  # noqa: E731
    run = compiled(lambda value: tuple(as_tuple(call(setting, value))))
    for value in NUMBERS[name][setting]:
        for a, b in zip(run(value), as_tuple(call(setting, value)), strict=True):
            assert torch.equal(a, b), value


@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("setting", ["sigma", "min_score"])
def test_a_setting_of_soft_nms_that_changes(method, setting):
    boxes, scores = CALLS["multiclass_nms"].tensors
    run = compiled(lambda value: tuple(rx.multiclass_nms(boxes, scores, method=method, **{setting: value})))
    for value in (0.5, 0.25, 0.125):
        expected = rx.multiclass_nms(boxes, scores, method=method, **{setting: value})
        assert all(map(torch.equal, run(value), expected))


@pytest.mark.parametrize("name", ["decode_boxes", "encode_boxes", "decode_cascade", "smooth_l1_box_loss"])
def test_variances_that_change(name):
    tensors = CALLS[name].tensors
    run = compiled(lambda value: getattr(rx, name)(*tensors, (value, value, 0.2, 0.2)))
    for value in (0.1, 0.2, 0.3):
        assert torch.equal(run(value), getattr(rx, name)(*tensors, (value, value, 0.2, 0.2)))


def test_a_size_to_clip_to_that_changes():
    tensors = CALLS["decode_boxes"].tensors
    run = compiled(lambda value: rx.decode_boxes(*tensors, clip_to=(value, value)))
    for value in (0.5, 1.0, 1.5, 2, 3):
        assert torch.equal(run(value), rx.decode_boxes(*tensors, clip_to=(value, value)))


def as_tuple(result):
    return (result,) if isinstance(result, Tensor) else result
