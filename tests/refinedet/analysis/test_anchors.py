from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

import refinedet_ext as rx
from refinedet.analysis.anchors import AFTER, BEFORE, as_json, plot_anchors, study_anchors
from refinedet.losses import LossConfig
from refinedet.outputs import HeadOutputs

ANCHORS = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]])
OBJECT = torch.tensor([[0.0, 0.0, 0.5, 0.4]])
VARIANCES = (0.1, 0.1, 0.2, 0.2)


class Stub(nn.Module):
    """A first stage that brings its second anchor exactly onto the object, and is sure that its third is background."""

    two_step = True
    config = SimpleNamespace(variances=VARIANCES, theta=0.99)
    criterion = SimpleNamespace(config=LossConfig())

    def head_outputs(self, images):
        deltas = torch.zeros(len(images), 4, 4)
        deltas[:, 1] = rx.encode_boxes(OBJECT, ANCHORS[1:2], VARIANCES)
        logits = torch.zeros(len(images), 4, 2)
        logits[:, 2, 0] = 20
        return HeadOutputs(logits, deltas, torch.zeros(len(images), 4, 3), torch.zeros_like(deltas), ANCHORS)


def batch(*objects, lost=()):
    """objects: of each image, its boxes (N, 4) and which are crowds."""
    boxes = torch.cat([one for one, _ in objects])
    counts = torch.tensor([0, *(len(one) for one, _ in objects)])
    return SimpleNamespace(
        images=torch.zeros(len(objects), 3, 8, 8),
        image_ids=list(range(len(objects))),
        unreadable=[SimpleNamespace(image_id=image_id) for image_id in lost],
        gt_boxes=boxes,
        gt_labels=torch.ones(len(boxes), dtype=torch.int64),
        gt_offsets=counts.cumsum(0),
        gt_ignore=torch.tensor([crowd for _, crowds in objects for crowd in crowds], dtype=torch.bool),
    )


def test_by_hand():
    """The object overlaps the first anchor by 0.8; an image without objects has four negatives."""
    study = study_anchors(Stub(), [batch((OBJECT, [False]), (OBJECT[:0], []))])
    assert study.positives.tolist() == [[1, 0], [2, 0]]
    assert study.negatives.tolist() == [[3, 4], [2, 4]]
    assert study.surviving.tolist() == [1, 3]  # all but the third
    assert study.histogram[0, 16] == 1 and study.histogram[0, 0] == 7
    assert study.histogram[1, 16] == 1 and study.histogram[1, 19] == 1 and study.histogram[1, 0] == 6
    assert [round(value, 5) for value in study.objects[:, 0].tolist()] == [0.8, 1.0]


def test_crowds_and_images_that_cannot_be_read():
    study = study_anchors(Stub(), [batch((OBJECT, [False]), (OBJECT, [True]), lost=[0])])
    assert study.positives.tolist() == [[0], [0]] and study.objects.shape == (2, 0)
    content = as_json(study)
    assert content["images"] == 1 and content["stages"][BEFORE]["mean_best_iou_of_objects"] is None
    assert content["stages"][AFTER]["negatives_per_image"] == [2]  # the first two lie in the crowd


def test_picture(tmp_path):
    for number, batches in enumerate(([batch((OBJECT, [False]), (OBJECT[:0], []))], [])):
        plot_anchors(study_anchors(Stub(), batches), tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5000
