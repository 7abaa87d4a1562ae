"""Losses without a first stage, and batches without objects as EFGRNet's released code takes them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from refinedet import MultiBoxLoss
from refinedet.outputs import single_stage_outputs

from .oracle import expected, make_outputs, make_truth


def test_without_a_first_stage_the_second_starts_at_the_anchors():
    outputs = make_outputs(2)
    truth = make_truth((2, 3))
    single = single_stage_outputs(outputs.odm_logits, outputs.odm_deltas, outputs.anchors)
    assert not single.arm_deltas.any() and (single.arm_logits.softmax(-1)[..., 1] == 1).all()
    losses = MultiBoxLoss(arm=False)(single, *truth)
    # what the two-stage loss says of its second stage when the first one does nothing
    whole = expected(single, truth)
    for name in ("odm_cls", "odm_loc", "odm_positives", "odm_negatives"):
        assert losses[name].item() == pytest.approx(whole[name], rel=1e-5), name
    for name in ("arm_cls", "arm_loc", "arm_positives", "arm_negatives", "filtered"):
        assert losses[name].item() == 0
    assert losses["total"].item() == pytest.approx(whole["odm_cls"] + whole["odm_loc"], rel=1e-5)
    losses["total"].backward()
    assert outputs.odm_logits.grad.any() and outputs.odm_deltas.grad.any()


@pytest.mark.parametrize("filtering", ["caffe", "peers"])
def test_a_batch_without_objects_gets_pseudo_negatives(filtering):
    outputs = make_outputs(2)
    truth = make_truth((0, 0))
    losses = MultiBoxLoss(empty_batch_negatives=5, filtering=filtering)(outputs, *truth)
    assert losses["arm_negatives"] == losses["odm_negatives"] == 10 and losses["odm_positives"] == 0
    assert losses["arm_loc"] == losses["odm_loc"] == 0
    for name, logits in (("arm_cls", outputs.arm_logits), ("odm_cls", outputs.odm_logits)):
        ranked = -F.log_softmax(logits.detach(), -1)[..., 0]
        kept = torch.ones_like(ranked, dtype=torch.bool)
        if name == "odm_cls" and filtering == "caffe":
            kept = outputs.arm_logits.detach().softmax(-1)[..., 0] <= 0.99
        hardest = ranked.masked_fill(~kept, -1).topk(5, dim=1).values
        assert losses[name].item() == pytest.approx(hardest.sum().item(), rel=1e-5)  # N is 1
    losses["total"].backward()
    assert outputs.odm_logits.grad.any()


def test_a_batch_with_an_object_gets_none():
    outputs = make_outputs(2)
    truth = make_truth((2, 0))
    with_option, without = (MultiBoxLoss(empty_batch_negatives=n)(outputs, *truth) for n in (45, 0))
    assert all(torch.equal(with_option[name], without[name]) for name in without)


def test_positives_that_the_peers_filter_leave_an_empty_batch():
    outputs = make_outputs(1, background=20.0)  # the first stage takes all for background
    truth = make_truth((3,))
    losses = MultiBoxLoss(empty_batch_negatives=5, filtering="peers")(outputs, *truth)
    assert losses["odm_positives"] == 0 and losses["odm_negatives"] == 5
    assert losses["arm_positives"] > 0 and math.isfinite(losses["total"].item())
