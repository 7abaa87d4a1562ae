"""From the raw outputs to detections."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

from .test_refinedet import tiny

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def outputs_with_one_object(model, *, arm_object=5.0):
    """Head outputs of an empty picture but for anchor 100, which is an object of class 2."""
    outputs = model.head_outputs(torch.zeros(1, 3, 128, 128))
    arm_logits, odm_logits = torch.zeros_like(outputs.arm_logits), torch.zeros_like(outputs.odm_logits)
    arm_logits[..., 0] = 10
    odm_logits[..., 0] = 10
    arm_logits[0, 100] = torch.tensor([0.0, arm_object])
    odm_logits[0, 100] = torch.tensor([0.0, 0.0, 8.0, 0.0])
    generator = torch.Generator().manual_seed(0)
    deltas = [torch.randn(outputs.arm_deltas.shape, generator=generator) for _ in range(2)]
    return outputs._replace(arm_logits=arm_logits, odm_logits=odm_logits, arm_deltas=deltas[0], odm_deltas=deltas[1])


def test_one_object_is_found_where_the_cascade_puts_it():
    model = tiny().eval()
    outputs = outputs_with_one_object(model)
    found = model.detect(outputs)
    refined = rx.decode_boxes(outputs.arm_deltas[0, 100], outputs.anchors[100], VARIANCES)
    box = rx.decode_boxes(outputs.odm_deltas[0, 100], refined, VARIANCES)
    assert isinstance(found, rx.Detections)
    assert found.count.tolist() == [1] and found.labels[0, 0] == 2 and not found.labels[0, 1:].any()
    torch.testing.assert_close(found.boxes[0, 0], box)
    torch.testing.assert_close(found.scores[0, 0], outputs.odm_logits[0, 100].softmax(-1)[2])


def test_without_two_step_the_box_starts_at_the_tiled_anchor():
    model = tiny(two_step=False).eval()
    outputs = outputs_with_one_object(model)
    box = rx.decode_boxes(outputs.odm_deltas[0, 100], outputs.anchors[100], VARIANCES)
    torch.testing.assert_close(model.detect(outputs).boxes[0, 0], box)


def test_what_the_arm_takes_for_background_is_not_detected():
    model = tiny().eval()
    assert model.detect(outputs_with_one_object(model, arm_object=-4.0)).count.tolist() == [1]
    assert model.detect(outputs_with_one_object(model, arm_object=-5.0)).count.tolist() == [0]
    unfiltered = tiny(theta=1.0).eval()
    assert unfiltered.detect(outputs_with_one_object(unfiltered, arm_object=-5.0)).count.tolist() == [1]


def test_boxes_are_not_clipped():
    model = tiny().eval()
    outputs = outputs_with_one_object(model)
    odm_deltas = outputs.odm_deltas.clone()
    odm_deltas[0, 100] = torch.tensor([-60.0, 0.0, 10.0, 0.0])
    assert model.detect(outputs._replace(odm_deltas=odm_deltas)).boxes[0, 0, 0] < 0


@pytest.mark.parametrize(("preset", "rows"), [("code", 500), ("paper", 200), ("coco", 500), ({"keep_top_k": 7}, 7)])
def test_presets_set_the_number_of_rows(preset, rows):
    model = tiny(nms=preset).eval()
    found = model(torch.zeros(2, 3, 128, 128))
    assert found.boxes.shape == (2, rows, 4) and found.count.shape == (2,)


@pytest.mark.parametrize("method", ["hard", "linear", "gaussian"])
def test_suppression_methods_reach_the_op(method):
    model = tiny(nms={"method": method, "iou_threshold": 0.3}).eval()
    outputs = outputs_with_one_object(model)
    for tensor in (outputs.arm_logits, outputs.odm_logits, outputs.arm_deltas, outputs.odm_deltas):
        tensor[0, 101] = tensor[0, 100]
    anchors = outputs.anchors.clone()
    anchors[101] = anchors[100]  # the same box twice
    found = model.detect(outputs._replace(anchors=anchors))
    count = {"hard": 1, "linear": 1, "gaussian": 2}[method]  # linear: the weight 1 - IoU is 0
    assert found.count.tolist() == [count]


def test_detections_carry_no_gradient():
    model = tiny().eval()
    assert not model(torch.randn(1, 3, 128, 128)).scores.requires_grad


def test_nms_can_be_changed_on_the_model():
    model = tiny().eval()
    outputs = outputs_with_one_object(model)
    model.nms = rx_config(score_threshold=1.0)
    assert model.detect(outputs).count.tolist() == [0]


def rx_config(**changes):
    from refinedet import NMSConfig

    return NMSConfig(**changes)
