"""Each stage has its own number of negatives, "all" of them included; and a first stage of one branch."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx
from refinedet import MultiBoxLoss

from .oracle import VARIANCES, make_outputs, make_truth

THETA = 0.99
RULES = {"arm_iou": (0.5, 0.3), "odm_iou": (0.5, 0.3)}


def all_by_hand(outputs, truth):
    """The detection stage over positives and every negative that the first stage leaves: its sum and the counts."""
    boxes, labels, offsets = truth
    refined = rx.decode_boxes(outputs.arm_deltas.detach(), outputs.anchors, VARIANCES)
    matched = rx.match_anchors(refined, boxes, labels, offsets, positive_iou=0.5, negative_iou=0.3).labels
    kept = outputs.arm_logits.softmax(-1)[..., 0] <= THETA
    positive, negative = matched > 0, (matched == 0) & kept
    losses = F.cross_entropy(outputs.odm_logits.mT, matched.clamp(min=0), reduction="none")
    return losses[positive | negative].sum(), int(positive.sum()), int(negative.sum())


@pytest.mark.parametrize("strategies", [{}, {"soft_label_alpha": 1e-12}])
def test_all_is_the_cross_entropy_over_every_negative_that_the_filter_leaves(strategies):
    """Also where the labels are guided, which goes another way."""
    outputs, truth = make_outputs(3, background=4.0), make_truth((3, 0, 7))
    losses = MultiBoxLoss(odm_negative_ratio="all", theta=THETA, **RULES, **strategies)(outputs, *truth)
    total, positives, negatives = all_by_hand(outputs, truth)
    assert 0 < negatives < losses["odm_negatives"].item() + losses["filtered"].item()
    assert (losses["odm_positives"], losses["odm_negatives"]) == (positives, negatives)
    torch.testing.assert_close(losses["odm_cls"], total / positives, rtol=1e-4, atol=1e-4)
    got, want = (torch.autograd.grad(x, outputs.odm_logits)[0] for x in (losses["odm_cls"], total / positives))
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_the_other_stage_keeps_its_ratio():
    outputs, truth = make_outputs(2), make_truth((2, 3))
    usual = MultiBoxLoss(theta=1.0)(outputs, *truth)
    odm = MultiBoxLoss(theta=1.0, odm_negative_ratio="all")(outputs, *truth)
    arm = MultiBoxLoss(theta=1.0, arm_negative_ratio=1.0)(outputs, *truth)
    for name in ("arm_cls", "arm_loc", "arm_negatives", "odm_loc"):
        assert torch.equal(odm[name], usual[name]), name
    assert odm["odm_negatives"] > 3 * odm["odm_positives"]
    assert arm["arm_negatives"] == arm["arm_positives"] and torch.equal(arm["odm_cls"], usual["odm_cls"])


@pytest.mark.parametrize(("least", "if_empty", "mined"), [(0, 0, 0), (5, 0, 10), (0, 45, 90)])
def test_all_in_a_batch_without_objects_is_nothing_or_what_is_asked_for(least, if_empty, mined):
    rules = {"min_negatives": least, "empty_batch_negatives": if_empty}
    outputs = make_outputs(2)
    losses = MultiBoxLoss(negative_ratio="all", **rules)(outputs, *make_truth((0, 0)))
    assert losses["odm_negatives"] == losses["arm_negatives"] == mined
    assert (losses["total"] == 0) == (mined == 0)
    losses["total"].backward()
    assert all(getattr(outputs, name).grad is not None for name in outputs._fields[:4])


def test_all_takes_what_the_quota_of_empty_batches_does_not_concern():
    outputs, truth = make_outputs(2), make_truth((2, 0))
    alone = MultiBoxLoss(negative_ratio="all", theta=1.0)(outputs, *truth)
    beside = MultiBoxLoss(negative_ratio="all", theta=1.0, empty_batch_negatives=45)(outputs, *truth)
    assert torch.equal(alone["total"], beside["total"])


@pytest.mark.parametrize("balance", ["fixed", "uncertainty"])
@pytest.mark.parametrize(("arm", "missing"), [("cls", "arm_loc"), ("loc", "arm_cls")])
def test_a_first_stage_of_one_branch_has_one_term(arm, missing, balance):
    outputs, truth = make_outputs(2), make_truth((2, 3))
    both = MultiBoxLoss(task_balance=balance)(outputs, *truth)
    criterion = MultiBoxLoss(task_balance=balance, arm=arm)
    losses = criterion(outputs, *truth)
    assert losses[missing] == 0 and both[missing] > 0
    for name in {"arm_cls", "arm_loc", "odm_cls", "odm_loc", "arm_positives"} - {missing}:
        assert torch.equal(losses[name], both[name]), name
    losses["total"].backward()
    if criterion.balance is not None:
        moved = criterion.balance.log_variance.grad != 0
        assert moved.tolist() == [name != missing for name in ("arm_cls", "arm_loc", "odm_cls", "odm_loc")]


def test_one_branch_is_named():
    with pytest.raises(ValueError, match="arm: expected one of .*, got 'boxes'"):
        MultiBoxLoss(arm="boxes")
