"""From the raw outputs to detections."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx
from refinedet import HeadOutputs

from .test_refinedet import tiny

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def outputs_with_one_object(model, *, arm_object=5.0):
    """Head outputs of an empty image but for anchor 100, which is an object of class 2."""
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


def iou(a, b):
    sides = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    shared = sides.prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def hard_then_linear(boxes, scores, *, hard, threshold, least):
    """Both suppressions of one class written out; pairs of box and score by falling score."""
    rest, kept = scores.argsort(descending=True).tolist(), []
    while rest:
        best, *others = rest
        kept.append(best)
        rest = [other for other in others if iou(boxes[best], boxes[other]) <= hard]
    left = {index: float(scores[index]) for index in kept}
    found = []
    while left:
        best = max(left, key=lambda index: left[index])
        found.append((boxes[best], left.pop(best)))
        for other in list(left):
            overlap = float(iou(boxes[best], boxes[other]))
            left[other] *= 1 - overlap if overlap > threshold else 1
            if left[other] < least:
                del left[other]
    return found


def test_a_hard_suppression_can_come_before_the_soft_one():
    boxes = torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) * 0.5
    boxes[:, 2:] = boxes[:, :2] + 0.3 + 0.2 * boxes[:, 2:]
    model = tiny(theta=1.0, nms={"preset": "coco", "hard_iou": 0.6}).eval()
    logits = torch.randn(1, 40, 4, generator=torch.Generator().manual_seed(1)) * 2
    zeros = torch.zeros(1, 40, 4)
    found = model.detect(HeadOutputs(zeros[..., :2], zeros, logits, zeros, boxes))
    scores = logits[0].softmax(-1)
    want = []
    for label in (1, 2, 3):
        own = scores[:, label] > model.nms.score_threshold
        rows = hard_then_linear(boxes[own], scores[own, label], hard=0.6, threshold=0.3, least=0.01)
        want += [(score, label, box) for box, score in rows]
    want.sort(key=lambda row: -row[0])
    count = int(found.count)
    assert 10 < count == len(want) and not found.scores[0, count:].any()
    assert found.labels[0, :count].tolist() == [label for _, label, _ in want]
    torch.testing.assert_close(found.scores[0, :count], torch.tensor([score for score, _, _ in want]))
    torch.testing.assert_close(found.boxes[0, :count], torch.stack([box for _, _, box in want]))
    alone = tiny(theta=1.0, nms="coco").eval().detect(HeadOutputs(zeros[..., :2], zeros, logits, zeros, boxes))
    assert int(alone.count) > count


@pytest.mark.parametrize("nms", [{"hard_iou": 0.45}, {"preset": "coco", "hard_iou": 1.5}])
def test_a_hard_suppression_before_needs_a_soft_one(nms):
    with pytest.raises(ValueError, match="nms hard_iou: expected"):
        tiny(nms=nms)
