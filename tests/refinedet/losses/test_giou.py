from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx
from refinedet.losses import giou_loss, paired_giou, paired_iou


def boxes(*rows, dtype=torch.float32):
    return torch.tensor(rows, dtype=dtype)


@pytest.mark.parametrize(
    ("a", "b", "iou", "giou"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1, 1),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),  # hull 9, union 7
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4, 1 / 4),  # one inside the other: the hull is the union
        ((0, 0, 1, 1), (2, 0, 3, 1), 0, -1 / 3),  # a gap of one box
        ((0, 0, 1, 1), (1, 0, 2, 1), 0, 0),  # touching
        ((0, 0, 1, 1), (9, 9, 10, 10), 0, -98 / 100),
        ((0, 0, 2, 1), (1, 0, 3, 2), 1 / 5, 1 / 5 - 1 / 6),
    ],
)
def test_hand_computed_values(a, b, iou, giou):
    for scale in (1.0, 0.01, 100.0):
        x, y = boxes(a) * scale, boxes(b) * scale
        for first, second in ((x, y), (y, x)):
            assert paired_iou(first, second).item() == pytest.approx(iou, abs=1e-5)
            assert paired_giou(first, second).item() == pytest.approx(giou, abs=1e-5)
            assert giou_loss(first, second).item() == pytest.approx(1 - giou, abs=1e-5)


def test_pairs_keep_their_shape():
    a, b = torch.rand(2, 5, 4), torch.rand(5, 4)
    assert paired_giou(a, b).shape == (2, 5) and paired_iou(a[:, :0], b[:0]).shape == (2, 0)


@settings(deadline=None)
@given(st.lists(st.floats(-2, 2, width=32), min_size=8, max_size=8))
def test_range_and_gradients_of_any_corners(values):
    a, b = torch.tensor(values[:4], requires_grad=True), torch.tensor(values[4:])
    giou = paired_giou(a, b)
    assert -1 - 1e-5 <= giou.item() <= 1 + 1e-5
    assert giou.item() <= paired_iou(a, b).item() + 1e-5
    giou.backward()
    assert torch.isfinite(a.grad).all()


def test_gradcheck():
    a = boxes((0.1, 0.2, 0.5, 0.7), (0.0, 0.0, 0.2, 0.2), (0.3, 0.3, 0.4, 0.4), dtype=torch.float64).requires_grad_()
    b = boxes((0.2, 0.1, 0.6, 0.6), (0.5, 0.5, 0.9, 0.8), (0.2, 0.25, 0.6, 0.5), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(giou_loss, (a, b))


def test_boxes_apart_are_drawn_together():
    a, b = boxes((0.0, 0.0, 0.2, 0.2)).requires_grad_(), boxes((0.6, 0.0, 0.8, 0.2))
    giou_loss(a, b).sum().backward()
    assert a.grad[0, 2] < 0  # moving the right side to the right lowers the loss, where the IoU's gradient is zero


@pytest.mark.parametrize(
    "box",
    [
        (0.4, 0.4, 0.4, 0.4),
        (0.4, 0.2, 0.4, 0.6),
        (0.6, 0.6, 0.4, 0.4),
        (0.4, 0.4, 0.4 + 1e-7, 0.4 + 1e-7),
        (1e-20, 1e-20, 2e-20, 2e-20),
        (-1e6, -1e6, 1e6, 1e6),
        (0.0, 0.0, 0.0, 0.0),
    ],
)
def test_odd_boxes_give_finite_values_and_gradients(box):
    for other in ((0.1, 0.1, 0.5, 0.5), box):
        a, b = boxes(box).requires_grad_(), boxes(other).requires_grad_()
        loss = giou_loss(a, b)
        assert torch.isfinite(loss).all() and 0 <= loss.item() <= 2 + 1e-5
        loss.sum().backward()
        assert torch.isfinite(a.grad).all() and torch.isfinite(b.grad).all()


def test_two_empty_boxes_in_one_place_lose_one():
    point = boxes((0.4, 0.4, 0.4, 0.4))
    assert giou_loss(point, point).item() == 1


@pytest.mark.parametrize(("distance", "overlap", "ratio"), [(0.05, 0.84, 3), (0.3, 0.39, 12)])
def test_how_much_more_smooth_l1_of_encoded_boxes_moves_them(distance, overlap, ratio):
    """What the docstring of `box_loss_weight` says; boxes whose places and sides are off by shares of the sides."""
    generator = torch.Generator().manual_seed(0)
    count = 4000
    center, side = (torch.rand(count, 2, generator=generator) for _ in range(2))
    side = 0.05 + 0.2 * side
    moved, grown = (distance * torch.randn(count, 2, generator=generator) for _ in range(2))
    anchors = torch.cat([center - side / 2, center + side / 2], 1)
    gt_center, gt_side = center + side * moved, side * torch.exp(grown)
    gt = torch.cat([gt_center - gt_side / 2, gt_center + gt_side / 2], 1)

    deltas = torch.zeros(1, count, 4, requires_grad=True)
    smooth = rx.smooth_l1_box_loss(deltas, anchors, gt, torch.arange(count)[None]).sum()
    by_overlap = giou_loss(rx.decode_boxes(deltas, anchors)[0], gt).sum()
    strong, weak = (torch.autograd.grad(loss, deltas)[0].norm(dim=-1).mean() for loss in (smooth, by_overlap))
    assert float(paired_iou(anchors, gt).mean()) == pytest.approx(overlap, abs=0.01)
    assert float(strong / weak) == pytest.approx(ratio, rel=0.1)
