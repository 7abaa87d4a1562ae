"""The whole loss of a two-stage detector, ARM and ODM, beside one as the public PyTorch ports write it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx
from refinedet import HeadOutputs, MultiBoxLoss

from .bench_match_anchors import plain_box_iou
from .inputs import detector_outputs, ground_truth, pyramid_anchors

CASES = {"B=8 A=6375 C=21": (320, 8, 21), "B=32 A=6375 C=21": (320, 32, 21), "B=8 A=16320 C=81": (512, 8, 81)}
ROUNDS = {"ours": 30, "ours, the port's rules": 30, "port": 3}
PORT_RULES = {"matching": "argmax", "filtering": "peers"}


def match_image(boxes: Tensor, labels: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and classes of one image's anchors, as SSD.PyTorch's and RefineDet.PyTorch's `match`."""
    if not len(boxes):
        return torch.zeros_like(anchors), torch.zeros(len(anchors), dtype=torch.int64)
    overlaps = plain_box_iou(anchors, boxes)
    best, which = overlaps.max(dim=1)
    for box, anchor in enumerate(overlaps.argmax(dim=0).tolist()):
        best[anchor], which[anchor] = 2.0, box
    return rx.reference.encode_boxes(boxes[which], anchors), torch.where(best >= 0.5, labels[which], 0)


def port_stage(logits: Tensor, deltas: Tensor, targets: Tensor, labels: Tensor, kept: Tensor | None) -> Tensor:
    """The terms of one stage: log-sum-exp of all anchors, two sorts, then the losses of those that are left."""
    positive = labels > 0 if kept is None else (labels > 0) & kept
    loc = F.smooth_l1_loss(deltas[positive], targets[positive], reduction="sum")
    with torch.no_grad():
        flat = logits.flatten(0, 1)
        ranking = flat.logsumexp(dim=1) - flat.gather(1, labels.flatten()[:, None])[:, 0]
        ranking = ranking.view(labels.shape).masked_fill(positive, 0.0)
        rank = ranking.sort(dim=1, descending=True).indices.sort(dim=1).indices
        negative = rank < (3 * positive.sum(dim=1, keepdim=True)).clamp(max=labels.shape[1] - 1)
    chosen = positive | negative
    cls = F.cross_entropy(logits[chosen], labels[chosen], reduction="sum")
    return (loc + cls) / positive.sum().clamp(min=1)


def port_loss(outputs: HeadOutputs, boxes: Tensor, labels: Tensor, offsets: Tensor) -> Tensor:
    """RefineDet.PyTorch's two loss layers, tidied up, with its floor of the number of positives."""
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = outputs
    ranges = list(zip(offsets.tolist(), offsets[1:].tolist(), strict=False))
    with torch.no_grad():
        refined = [rx.reference.decode_boxes(deltas, anchors) for deltas in arm_deltas]
        first = [match_image(boxes[i:j], torch.ones_like(labels[i:j]), anchors) for i, j in ranges]
        second = [match_image(boxes[i:j], labels[i:j], a) for (i, j), a in zip(ranges, refined, strict=True)]
        kept = arm_logits.softmax(dim=-1)[..., 1] > 0.01
    arm = port_stage(arm_logits, arm_deltas, *map(torch.stack, zip(*first, strict=True)), None)
    odm = port_stage(odm_logits, odm_deltas, *map(torch.stack, zip(*second, strict=True)), kept)
    return arm + odm


@pytest.mark.parametrize("who", ROUNDS)
@pytest.mark.parametrize("case", CASES)
def test_multibox_loss(benchmark, case, who):
    rng = torch.Generator().manual_seed(0)
    size, images, classes = CASES[case]
    anchors = pyramid_anchors(size)
    heads = detector_outputs(anchors, images, classes, 390, 1400, rng)
    outputs = HeadOutputs(*(t.requires_grad_() for t in heads), anchors)
    truth = ground_truth(images, 8.4, rng)
    ours, alike = MultiBoxLoss(), MultiBoxLoss(**PORT_RULES)
    loss = {
        "ours": lambda: ours(outputs, *truth)["total"],
        "ours, the port's rules": lambda: alike(outputs, *truth)["total"],
        "port": lambda: port_loss(outputs, *truth),
    }[who]

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(), outputs[:4])

    # both by the same rules: the same numbers, which tests/refinedet/losses compares with plain loops as well
    torch.testing.assert_close(alike(outputs, *truth)["total"], port_loss(outputs, *truth), rtol=1e-4, atol=1e-4)
    benchmark.group = f"multibox_loss {case}"
    benchmark.pedantic(run, rounds=ROUNDS[who], warmup_rounds=2)
