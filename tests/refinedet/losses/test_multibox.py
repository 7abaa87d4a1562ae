from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx
from refinedet import MultiBoxLoss
from refinedet.losses import LossConfig

from .oracle import VARIANCES, expected, make_outputs, make_truth

TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")
COUNTS = ("arm_positives", "arm_negatives", "odm_positives", "odm_negatives", "filtered")


@pytest.mark.parametrize("counts", [(1,), (3, 0, 7), (0, 2), (12, 12)])
@pytest.mark.parametrize("background", [0.0, 4.0])
def test_equals_the_loop_over_images_and_anchors(counts, background):
    outputs, truth = make_outputs(len(counts), seed=len(counts), background=background), make_truth(counts)
    losses, want = MultiBoxLoss()(outputs, *truth), expected(outputs, truth)
    assert losses.keys() == want.keys()
    for name in COUNTS:
        assert losses[name].dtype == torch.int64 and int(losses[name]) == want[name], name
    for name in (*TERMS, "total"):
        assert losses[name].shape == () and float(losses[name].detach()) == pytest.approx(want[name], rel=1e-4), name


def test_total_is_the_sum_of_the_terms():
    losses = MultiBoxLoss()(make_outputs(2), *make_truth((2, 3)))
    torch.testing.assert_close(losses["total"], sum(losses[name] for name in TERMS))


def gradients(term, outputs):
    return torch.autograd.grad(term, outputs[:4], retain_graph=True, allow_unused=True, materialize_grads=True)


def test_no_gradient_of_the_second_stage_enters_the_first():
    outputs = make_outputs(2)
    losses = MultiBoxLoss()(outputs, *make_truth((2, 3)))
    arm_logits, arm_deltas, odm_logits, odm_deltas = gradients(losses["odm_cls"] + losses["odm_loc"], outputs)
    assert not arm_logits.any() and not arm_deltas.any()
    assert odm_logits.any() and odm_deltas.any()
    arm_logits, arm_deltas, odm_logits, odm_deltas = gradients(losses["arm_cls"] + losses["arm_loc"], outputs)
    assert arm_logits.any() and arm_deltas.any()
    assert not odm_logits.any() and not odm_deltas.any()


def test_gradients_are_those_of_the_formula():
    outputs, truth = make_outputs(2, dtype=torch.float64), make_truth((2, 1))
    truth = (truth[0].double(), *truth[1:])

    # the refined anchors follow the ARM's offsets, which are therefore held still for the ODM's sake
    def total(*heads):
        losses = MultiBoxLoss()(outputs._replace(odm_logits=heads[0], odm_deltas=heads[1]), *truth)
        return losses["total"]

    assert torch.autograd.gradcheck(total, (outputs.odm_logits, outputs.odm_deltas), atol=1e-4)


def test_an_image_without_objects_changes_nothing():
    outputs, (boxes, labels, offsets) = make_outputs(3), make_truth((2, 0, 3))
    all_images = MultiBoxLoss()(outputs, boxes, labels, offsets)
    without = make_outputs(3)
    without = without._replace(**{name: getattr(outputs, name)[[0, 2]] for name in outputs._fields[:4]})
    two_images = MultiBoxLoss()(without, boxes, labels, torch.tensor([0, 2, 5]))
    for name in (*TERMS, "total", *COUNTS[:4]):
        torch.testing.assert_close(all_images[name], two_images[name], msg=name)


@pytest.mark.parametrize("images", [0, 1, 3])
def test_without_any_positive_the_loss_is_exactly_zero(images):
    outputs = make_outputs(images)
    losses = MultiBoxLoss()(outputs, *make_truth((0,) * images))
    for name in (*TERMS, "total", *COUNTS[:4]):
        assert losses[name].item() == 0, name
    losses["total"].backward()
    for name in outputs._fields[:4]:  # all of them, or a data-parallel rank would wait for one forever
        grad = getattr(outputs, name).grad
        assert grad is not None and not grad.any(), name


def test_all_filtered_keeps_the_positives_and_mines_nothing():
    truth = make_truth((3, 2))
    free, filtered = make_outputs(2), make_outputs(2, background=50)
    before, after = MultiBoxLoss()(free, *truth), MultiBoxLoss()(filtered, *truth)
    assert after["odm_positives"] == before["odm_positives"] > 0
    assert after["odm_negatives"] == 0 and after["filtered"] == 2 * len(free.anchors)
    assert after["arm_negatives"] == 3 * after["arm_positives"]


def test_theta_one_filters_nothing():
    losses = MultiBoxLoss(theta=1.0)(make_outputs(2, background=50), *make_truth((3, 2)))
    assert losses["filtered"] == 0 and losses["odm_negatives"] == 3 * losses["odm_positives"]


def test_filtering_variants_when_the_arm_sees_only_background():
    outputs, truth = make_outputs(2, background=50), make_truth((3, 2))
    caffe = MultiBoxLoss(filtering="caffe")(outputs, *truth)
    paper = MultiBoxLoss(filtering="paper")(outputs, *truth)
    peers = MultiBoxLoss(filtering="peers")(outputs, *truth)
    none = MultiBoxLoss(filtering="none")(outputs, *truth)
    assert caffe["odm_positives"] == none["odm_positives"] > 0
    assert none["odm_negatives"] == 3 * none["odm_positives"]
    for losses in (paper, peers):  # the ports divide by zero here; the floor of N keeps this at 0
        assert losses["odm_positives"] == losses["odm_negatives"] == 0
        assert losses["odm_cls"] == losses["odm_loc"] == 0


def test_peers_train_a_dropped_positive_with_its_class_as_a_mined_negative():
    outputs, (boxes, labels, offsets) = make_outputs(1), make_truth((2,))
    arm_logits = torch.zeros_like(outputs.arm_logits)
    matches = rx.match_anchors(
        rx.decode_boxes(outputs.arm_deltas.detach(), outputs.anchors, VARIANCES), boxes, labels, offsets
    )
    first, second = (int((matches.gt_index[0] == row).nonzero()[0]) for row in (0, 1))
    arm_logits[0, matches.labels[0] > 0, 0] = 50
    arm_logits[0, second, 0] = 0  # the only positive that stays
    odm_logits = torch.zeros_like(outputs.odm_logits)
    odm_logits[0, first, labels[0]] = -20  # by far the largest loss, if measured against its class
    outputs = outputs._replace(arm_logits=arm_logits, odm_logits=odm_logits)
    losses = MultiBoxLoss(filtering="peers")(outputs, boxes, labels, offsets)
    assert losses["odm_positives"] == 1 and losses["odm_negatives"] == 3
    assert float(losses["odm_cls"]) > 20


def test_two_objects_with_the_same_best_anchor_both_train():
    outputs = make_outputs(1)
    box = outputs.anchors[40]
    boxes = torch.stack([box, box + 1e-3])
    truth = (boxes, torch.tensor([1, 2]), torch.tensor([0, 2]))
    losses = MultiBoxLoss(arm_iou=(0.99, 0.5), odm_iou=(0.99, 0.5))(outputs, *truth)
    assert losses["arm_positives"] >= 2 and losses["odm_positives"] >= 2
    none = MultiBoxLoss(arm_iou=(1.0, 0.5), odm_iou=(1.0, 0.5), matching="none")(outputs, *truth)
    assert none["odm_positives"] == 0


def test_two_step_off_matches_the_tiled_anchors():
    outputs, truth = make_outputs(2), make_truth((3, 2))
    one_step = MultiBoxLoss(two_step=False)(outputs, *truth)
    assert one_step["odm_positives"] == one_step["arm_positives"]
    still = outputs._replace(arm_deltas=torch.zeros_like(outputs.arm_deltas))
    torch.testing.assert_close(one_step["odm_loc"], MultiBoxLoss()(still, *truth)["odm_loc"])


def test_min_negatives_trains_on_images_without_objects():
    losses = MultiBoxLoss(min_negatives=45)(make_outputs(2), *make_truth((0, 0)))
    assert losses["arm_negatives"] == losses["odm_negatives"] == 90
    assert losses["arm_cls"] > 0 and losses["odm_cls"] > 0
    assert losses["arm_loc"] == losses["odm_loc"] == 0


def test_negative_ratio_sets_the_number_of_negatives():
    losses = MultiBoxLoss(negative_ratio=1.0, theta=1.0)(make_outputs(2), *make_truth((2, 3)))
    assert losses["arm_negatives"] == losses["arm_positives"]
    assert losses["odm_negatives"] == losses["odm_positives"]


def test_higher_arm_threshold_leaves_fewer_positives_and_negatives():
    outputs, truth = make_outputs(2), make_truth((6, 6))
    low, high = MultiBoxLoss()(outputs, *truth), MultiBoxLoss(arm_iou=(0.7, 0.3))(outputs, *truth)
    assert high["arm_positives"] < low["arm_positives"]
    assert high["odm_positives"] == low["odm_positives"]


def test_crowd_boxes_are_no_objects():
    outputs, (boxes, labels, offsets) = make_outputs(1), make_truth((3,))
    crowd = MultiBoxLoss()(outputs, boxes, labels, offsets, torch.tensor([False, True, True]))
    alone = MultiBoxLoss()(outputs, boxes[:1], labels[:1], torch.tensor([0, 1]))
    assert crowd["odm_positives"] == alone["odm_positives"]
    torch.testing.assert_close(crowd["odm_loc"], alone["odm_loc"])
    everything = MultiBoxLoss()(outputs, boxes, labels, offsets, torch.ones(3, dtype=torch.bool))
    assert everything["total"] == 0


def test_rules_come_as_a_config_or_one_by_one():
    rules = LossConfig(
        matching="argmax", arm_pos_iou=0.7, arm_neg_iou=0.3, arm_negative_ratio=2.0, odm_negative_ratio=2.0
    )
    by_name = MultiBoxLoss(matching="argmax", arm_iou=(0.7, 0.3), negative_ratio=2.0)
    assert by_name.config == MultiBoxLoss(rules).config == MultiBoxLoss(strategies=rules).config == rules
    assert MultiBoxLoss(rules, box_loss="giou").config.box_loss == "giou" and rules.box_loss == "smooth_l1"
    with pytest.raises(TypeError, match="config, strategies: expected one of them, got both"):
        MultiBoxLoss(rules, strategies=rules)
    with pytest.raises(TypeError, match="ratio"):
        MultiBoxLoss(ratio=2.0)
