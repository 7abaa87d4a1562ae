"""Degenerate values, half types and wrong inputs of the loss."""

from __future__ import annotations

import pytest
import torch

from refinedet import MultiBoxLoss

from .oracle import CLASSES, make_outputs, make_truth


def finite(losses, outputs):
    losses["total"].backward()
    grads = [getattr(outputs, name).grad for name in outputs._fields[:4]]
    return all(torch.isfinite(v).all() for v in losses.values()) and all(torch.isfinite(g).all() for g in grads)


def with_values(outputs, **changes):
    changed = {name: value.detach().clone().requires_grad_() for name, value in changes.items()}
    return outputs._replace(**changed)


@pytest.mark.parametrize("value", [-1e4, 1e4, 1e30, -1e30])
def test_extreme_refinements_stay_finite(value):
    outputs = make_outputs(2)
    outputs = with_values(outputs, arm_deltas=torch.full_like(outputs.arm_deltas, value))
    assert finite(MultiBoxLoss()(outputs, *make_truth((2, 3))), outputs)


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_extreme_logits_stay_finite(value):
    outputs = make_outputs(2)
    logits = torch.zeros_like(outputs.odm_logits)
    logits[..., 1] = value
    arm_logits = torch.zeros_like(outputs.arm_logits)
    arm_logits[..., 0] = value
    outputs = with_values(outputs, odm_logits=logits, arm_logits=arm_logits)
    assert finite(MultiBoxLoss()(outputs, *make_truth((2, 3))), outputs)


@pytest.mark.parametrize("matching", ["bipartite", "argmax", "none"])
@pytest.mark.parametrize(
    "box",
    [
        [0.4, 0.4, 0.4, 0.4],  # a point
        [0.4, 0.2, 0.4, 0.6],  # a line
        [0.6, 0.6, 0.4, 0.4],  # inverted
        [-3.0, -3.0, -2.0, -2.0],  # outside
        [-5.0, -5.0, 5.0, 5.0],  # larger than all
        [0.4, 0.4, 0.4 + 1e-7, 0.4 + 1e-7],
    ],
)
def test_odd_boxes_stay_finite(matching, box):
    outputs = make_outputs(1)
    losses = MultiBoxLoss(matching=matching)(outputs, torch.tensor([box]), torch.tensor([1]), torch.tensor([0, 1]))
    assert finite(losses, outputs)


def test_more_objects_than_anchors():
    outputs, truth = make_outputs(1), make_truth((200,))
    losses = MultiBoxLoss()(outputs, *truth)
    assert finite(losses, outputs) and losses["arm_positives"] <= len(outputs.anchors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_outputs_are_worked_on_in_float32(dtype):
    outputs, truth = make_outputs(2), make_truth((2, 3))
    rounded = [t.detach().to(dtype) for t in outputs[:4]]
    half = with_values(outputs, **dict(zip(outputs._fields[:4], rounded, strict=True)))
    full = with_values(outputs, **{n: t.float() for n, t in zip(outputs._fields[:4], rounded, strict=True)})
    got, want = MultiBoxLoss()(half, *truth), MultiBoxLoss()(full, *truth)
    assert got["total"].dtype == torch.float32
    for name in want:
        assert torch.equal(got[name], want[name]), name
    got["total"].backward()
    assert half.odm_logits.grad.dtype == dtype


def test_autocast_changes_nothing():
    outputs, truth = make_outputs(2), make_truth((2, 3))
    want = MultiBoxLoss()(outputs, *truth)
    with torch.autocast("cpu", torch.bfloat16):
        got = MultiBoxLoss()(outputs, *truth)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_outputs_are_left_as_they_are():
    outputs, truth = make_outputs(2), make_truth((2, 3))
    before = [t.detach().clone() for t in (*outputs, *truth)]
    MultiBoxLoss()(outputs, *truth)
    assert all(torch.equal(a, b) for a, b in zip(before, (*outputs, *truth), strict=True))


@pytest.mark.parametrize("label", [0, CLASSES, -1])
def test_labels_outside_the_classes_are_named(label):
    boxes, _, offsets = make_truth((1,))
    with pytest.raises(ValueError, match=rf"gt_labels: expected classes in 1..{CLASSES - 1}, got values from {label}"):
        MultiBoxLoss()(make_outputs(1), boxes, torch.tensor([label]), offsets)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("arm_logits", (2, 108, 3), r"arm_logits: expected shape \(B, A, 2\), got \(2, 108, 3\)"),
        ("arm_deltas", (2, 107, 4), r"arm_deltas: expected shape \(2, 108, 4\), got \(2, 107, 4\)"),
        ("odm_logits", (3, 108, 5), r"odm_logits: expected shape \(2, 108, C\), got \(3, 108, 5\)"),
        ("odm_deltas", (2, 108), r"odm_deltas: expected shape \(2, 108, 4\), got \(2, 108\)"),
        ("anchors", (2, 108, 4), r"anchors: expected shape \(108, 4\), got \(2, 108, 4\)"),
    ],
)
def test_wrong_outputs_are_named(name, shape, message):
    outputs = make_outputs(2)._replace(**{name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=message):
        MultiBoxLoss()(outputs, *make_truth((1, 1)))


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(3, 5), r"gt_boxes: expected shape \(G, 4\), got \(3, 5\)"),
        (1, torch.ones(3, dtype=torch.int64), r"gt_labels: expected shape \(2,\), got \(3,\)"),
        (2, torch.tensor([0, 2]), r"gt_offsets: expected shape \(3,\), got \(2,\)"),
        (3, torch.zeros(1, dtype=torch.bool), r"gt_ignore: expected shape \(2,\), got \(1,\)"),
    ],
)
def test_wrong_ground_truth_is_named(position, value, message):
    truth = [*make_truth((1, 1)), torch.zeros(2, dtype=torch.bool)]
    truth[position] = value
    with pytest.raises(ValueError, match=message):
        MultiBoxLoss()(make_outputs(2), *truth)
