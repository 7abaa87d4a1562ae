from __future__ import annotations

import math

import pytest
import torch

from refinedet.losses import TaskBalance
from refinedet.losses.balance import TERMS

ALL = dict.fromkeys(TERMS, torch.tensor(True))


def terms(*values):
    return {name: torch.tensor(value, requires_grad=True) for name, value in zip(TERMS, values, strict=True)}


def test_starts_with_equal_variances():
    # arm_cls 1, arm_loc 2, odm_cls 4, odm_loc 8: box terms count half
    assert TaskBalance()(terms(1.0, 2.0, 4.0, 8.0), ALL).item() == pytest.approx(1 + 2 / 2 + 4 + 8 / 2)


def test_equation_6_by_hand():
    balance = TaskBalance()
    s = [0.5, -1.0, 2.0, 0.25]
    balance.log_variance.data = torch.tensor(s)
    want = (
        math.exp(-0.5) * 1 + 0.25
        + math.exp(1.0) * 2 / 2 - 0.5
        + math.exp(-2.0) * 4 + 1.0
        + math.exp(-0.25) * 8 / 2 + 0.125
    )  # fmt: skip
    assert balance(terms(1.0, 2.0, 4.0, 8.0), ALL).item() == pytest.approx(want, rel=1e-6)


def test_gradients():
    balance, losses = TaskBalance(), terms(1.0, 2.0, 4.0, 8.0)
    balance(losses, ALL).backward()
    # d/ds (e^-s L + s/2) = 1/2 - L at 0; of a box term 1/2 - L/2
    torch.testing.assert_close(balance.log_variance.grad, torch.tensor([-0.5, -0.5, -3.5, -3.5]))
    assert [losses[name].grad.item() for name in TERMS] == [1, 0.5, 1, 0.5]


def test_best_variances_follow_the_losses():
    balance = TaskBalance()
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        balance(terms(0.5, 2.0, 1.5, 0.5), ALL).backward()
        optimizer.step()
    # the minimum of e^-s L + s/2 is at e^s = 2 L, of e^-s L / 2 + s/2 at e^s = L
    torch.testing.assert_close(
        balance.log_variance.detach().exp(), torch.tensor([1.0, 2.0, 3.0, 0.5]), rtol=1e-3, atol=0
    )


def test_terms_without_anchors_are_left_out():
    balance = TaskBalance()
    balance.log_variance.data.fill_(2.0)
    losses = terms(0.0, 0.0, 3.0, 0.0)
    total = balance(losses, {**dict.fromkeys(TERMS, torch.tensor(False)), "odm_cls": torch.tensor(True)})
    total.backward()
    assert total.item() == pytest.approx(3 * math.exp(-2) + 1)
    assert balance.log_variance.grad.tolist() == pytest.approx([0, 0, 0.5 - 3 * math.exp(-2), 0])
    assert all(losses[name].grad is not None for name in TERMS)


@pytest.mark.parametrize("s", [-50.0, 50.0])
def test_weights_stay_within_their_limits(s):
    balance = TaskBalance()
    balance.log_variance.data.fill_(s)
    total = balance(terms(0.0, 0.0, 0.0, 0.0), ALL)
    total.backward()
    assert total.item() == pytest.approx(4 * math.copysign(2.5, s))
    assert not balance.log_variance.grad.any()


def test_state_holds_the_variances_alone():
    assert list(TaskBalance().state_dict()) == ["log_variance"]
