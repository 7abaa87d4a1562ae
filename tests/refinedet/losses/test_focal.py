from __future__ import annotations

import math

import pytest
import torch

from refinedet.losses import focal_factor

LOG_P = torch.tensor([[0.9, 0.1], [0.25, 0.75]]).log()
LABELS = torch.tensor([0, 1])


def test_by_hand():
    # (1 - 0.9)^2 and (1 - 0.75)^2, then 3/4 of background and 1/4 of objects
    torch.testing.assert_close(focal_factor(LOG_P, LABELS, alpha=None), torch.tensor([0.01, 0.0625]))
    torch.testing.assert_close(focal_factor(LOG_P, LABELS), torch.tensor([0.0075, 0.015625]))
    torch.testing.assert_close(focal_factor(LOG_P, LABELS, gamma=0.5, alpha=None), torch.tensor([math.sqrt(0.1), 0.5]))


def test_gamma_zero_without_alpha_is_one():
    assert torch.equal(focal_factor(LOG_P, LABELS, gamma=0.0, alpha=None), torch.ones(2))


def test_gradient_flows_through_the_probability():
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: focal_factor(x.log_softmax(-1), labels), (logits,))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("value", [0.0, 50.0, 1e4, -1e4])
def test_extreme_scores_stay_finite(gamma, value):
    logits = torch.tensor([[value, 0.0]], requires_grad=True)
    factor = focal_factor(logits.log_softmax(-1), torch.tensor([0]), gamma=gamma)
    factor.sum().backward()
    assert torch.isfinite(factor).all() and torch.isfinite(logits.grad).all()


def test_small_misses_keep_their_digits():
    log_p = torch.tensor([[40.0, 0.0]]).log_softmax(-1)  # 1 - p = e^-40, which 1 - exp(log_p) would round to 0
    assert focal_factor(torch.tensor([[-1e-9, -20.7]]), torch.tensor([0]), gamma=1.0, alpha=None).item() > 0
    assert torch.isfinite(focal_factor(log_p, torch.tensor([0]))).all()
