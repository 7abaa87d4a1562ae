from __future__ import annotations

import math

import pytest
import torch

from refinedet.losses import anchor_weights, soft_cross_entropy, soft_target

LABELS = torch.tensor([3, 3, 1, 0, 0])
IOU = torch.tensor([1.0, 0.6, 0.0, 0.4, 0.0])


def test_targets_of_equation_3():
    # 1 - 0.25 (1 - iou) of objects, 1 - 0.25 iou of background
    torch.testing.assert_close(soft_target(LABELS, IOU, 0.25), torch.tensor([1.0, 0.9, 0.75, 0.9, 1.0]))
    assert torch.equal(soft_target(LABELS, IOU, 0.0), torch.ones(5))


def test_an_overlap_rounded_above_one_is_no_more_than_one():
    assert soft_target(torch.tensor([1]), torch.tensor([1.0000001]), 1.0).item() == 1


def test_weights_of_equation_4():
    # 1 / (1 - 0.9 * 0.4) = 1 / 0.64, and 10 where an object is missed altogether
    want = torch.tensor([1.0, 1 / 0.64, 10.0, 1.0, 1.0])
    torch.testing.assert_close(anchor_weights(LABELS, IOU, 0.9), want)
    assert torch.equal(anchor_weights(LABELS, IOU, 0.0), torch.ones(5))


def test_divergence_of_equation_2_by_hand():
    # 3 classes, p = (1/2, 1/4, 1/4), label 1 with 0.9, the others 0.05 each, weights 1, 4, 2
    log_p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    target, weights = torch.tensor([0.9]), torch.tensor([1.0, 4.0, 2.0])
    plain = 0.05 * math.log(0.1) + 0.9 * math.log(3.6) + 0.05 * math.log(0.2)
    weighted = 0.05 * math.log(0.1) + 4 * 0.9 * math.log(3.6) + 2 * 0.05 * math.log(0.2)
    label = torch.tensor([1])
    assert soft_cross_entropy(log_p, label, target).item() == pytest.approx(plain, rel=1e-5)
    assert soft_cross_entropy(log_p, label, target, weights).item() == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_it_equals_the_sum_over_the_written_out_label(alpha):
    torch.manual_seed(0)
    n, count = 7, 50
    log_p, weights = torch.randn(count, n).mul(3).log_softmax(-1), torch.rand(n) * 5
    labels, iou = torch.randint(0, n, (count,)), torch.rand(count)
    target = soft_target(labels, iou, alpha)
    y = ((1 - target) / (n - 1))[:, None].expand(-1, n).scatter(1, labels[:, None], target[:, None])
    torch.testing.assert_close(y.sum(dim=1), torch.ones(count))
    want = (weights * (torch.xlogy(y, y) - y * log_p)).sum(dim=1)
    torch.testing.assert_close(soft_cross_entropy(log_p, labels, target, weights), want, rtol=1e-4, atol=1e-5)


def test_hard_targets_give_the_cross_entropy():
    log_p = torch.randn(9, 5).log_softmax(-1)
    labels = torch.arange(9) % 5
    want = torch.nn.functional.nll_loss(log_p, labels, reduction="none")
    torch.testing.assert_close(soft_cross_entropy(log_p, labels, torch.ones(9)), want)
    weights = torch.rand(5)
    torch.testing.assert_close(soft_cross_entropy(log_p, labels, torch.ones(9), weights), want * weights[labels])


def test_it_is_least_and_zero_where_the_scores_are_the_label():
    target, labels = torch.tensor([0.8]), torch.tensor([2])
    y = torch.tensor([[0.1, 0.1, 0.8]])
    assert soft_cross_entropy(y.log(), labels, target).item() == pytest.approx(0, abs=1e-6)
    logits = y.log().requires_grad_()
    soft_cross_entropy(logits.log_softmax(-1), labels, target).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 3), rtol=0, atol=1e-6)


def test_gradcheck_and_extreme_scores():
    labels, target = torch.tensor([0, 1, 2]), torch.tensor([0.75, 1.0, 0.0], dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0, 10.0], dtype=torch.float64)
    logits = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: soft_cross_entropy(x.log_softmax(-1), labels, target, weights), (logits,))
    far = torch.tensor([[1e4, -1e4, 0.0]] * 3, requires_grad=True)
    loss = soft_cross_entropy(far.log_softmax(-1), labels, target.float(), weights.float())
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(far.grad).all()
