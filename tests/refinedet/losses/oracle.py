"""The loss once more, image by image and anchor by anchor in plain Python, and inputs to compare it on."""

from __future__ import annotations

import math

import torch

from refinedet import HeadOutputs

VARIANCES = (0.1, 0.1, 0.2, 0.2)
CLASSES = 5


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0


def center(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def decode(delta, box):
    cx, cy, w, h = center(box)
    cx, cy = cx + 0.1 * delta[0] * w, cy + 0.1 * delta[1] * h
    w, h = w * math.exp(0.2 * delta[2]), h * math.exp(0.2 * delta[3])
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def encode(box, reference):
    cx, cy, w, h = center(box)
    rx, ry, rw, rh = center(reference)
    return [(cx - rx) / rw / 0.1, (cy - ry) / rh / 0.1, math.log(w / rw) / 0.2, math.log(h / rh) / 0.2]


def match(references, boxes):
    """Index of each reference's ground truth or None, and its best overlap: bipartite, then 0.5."""
    table = [[iou(r, g) for g in boxes] for r in references]
    matched = [None] * len(references)
    free = set(range(len(boxes)))
    while free:
        best, a, g = max(
            ((table[a][g], a, g) for a in range(len(references)) if matched[a] is None for g in free),
            key=lambda entry: entry[0],
        )
        if best <= 1e-6:
            break
        matched[a] = g
        free.remove(g)
    overlaps = [max(row, default=0.0) for row in table]
    for a, row in enumerate(table):
        if matched[a] is None and row and overlaps[a] >= 0.5:
            matched[a] = row.index(overlaps[a])
    return matched, overlaps


def log_softmax(logits):
    top = max(logits)
    total = math.log(sum(math.exp(v - top) for v in logits)) + top
    return [v - total for v in logits]


def stage(logits, deltas, references, boxes, labels, eligible):
    """Sums of one image: classification, localization, positives, negatives."""
    matched, overlaps = match(references, boxes)
    cls = loc = 0.0
    positives, pool = 0, []
    for a, g in enumerate(matched):
        log_p = log_softmax(logits[a])
        if g is None:
            if overlaps[a] < 0.5 and eligible[a]:
                pool.append(-log_p[0])
            continue
        positives += 1
        cls -= log_p[labels[g]]
        for got, want in zip(deltas[a], encode(boxes[g], references[a]), strict=True):
            z = abs(got - want)
            loc += 0.5 * z * z if z < 1 else z - 0.5
    mined = sorted(pool, reverse=True)[: 3 * positives]
    return cls + sum(mined), loc, positives, len(mined)


def expected(outputs, truth):
    """The dict of `MultiBoxLoss` with its defaults."""
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = (t.double().tolist() for t in outputs)
    boxes, labels, offsets = (t.tolist() for t in truth)
    sums = {"arm": [0.0, 0.0, 0, 0], "odm": [0.0, 0.0, 0, 0]}
    filtered = 0
    for b in range(len(arm_logits)):
        mine, classes = boxes[offsets[b] : offsets[b + 1]], labels[offsets[b] : offsets[b + 1]]
        everyone, objects = [True] * len(anchors), [1] * len(mine)
        refined = [decode(d, a) for d, a in zip(arm_deltas[b], anchors, strict=True)]
        kept = [math.exp(log_softmax(row)[0]) <= 0.99 for row in arm_logits[b]]
        filtered += kept.count(False)
        parts = {
            "arm": stage(arm_logits[b], arm_deltas[b], anchors, mine, objects, everyone),
            "odm": stage(odm_logits[b], odm_deltas[b], refined, mine, classes, kept),
        }
        for name, part in parts.items():
            sums[name] = [x + y for x, y in zip(sums[name], part, strict=True)]
    result = {"filtered": filtered}
    for name, (cls, loc, positives, negatives) in sums.items():
        result[f"{name}_cls"] = cls / max(positives, 1)
        result[f"{name}_loc"] = loc / max(positives, 1)
        result[f"{name}_positives"] = positives
        result[f"{name}_negatives"] = negatives
    result["total"] = sum(result[f"{s}_{t}"] for s in ("arm", "odm") for t in ("cls", "loc"))
    return result


def grid_anchors(cells=6):
    """Three boxes in each of 6 x 6 cells."""
    at = (torch.arange(cells) + 0.5) / cells
    middle = torch.cartesian_prod(at, at).flip(1)[:, None]
    half = torch.tensor([[0.12, 0.12], [0.17, 0.085], [0.085, 0.17]])[None]
    return torch.cat([middle - half, middle + half], dim=-1).reshape(-1, 4)


def make_outputs(images, *, seed=0, background=0.0, dtype=torch.float32):
    """Random outputs on `grid_anchors`; `background` is added to the ARM's background logits."""
    generator = torch.Generator().manual_seed(seed)
    anchors = grid_anchors()
    count = len(anchors)

    def random(width):
        return torch.randn(images, count, width, generator=generator, dtype=dtype)

    arm_logits = random(2) * 3
    arm_logits[..., 0] += background
    outputs = HeadOutputs(arm_logits, random(4), random(CLASSES) * 2, random(4), anchors.to(dtype))
    for tensor in outputs[:4]:
        tensor.requires_grad_()
    return outputs


def make_truth(counts, *, seed=0):
    """Boxes, labels and offsets with counts[b] objects in image b."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(counts)
    middle = torch.rand(total, 2, generator=generator) * 0.7 + 0.15
    half = torch.rand(total, 2, generator=generator) * 0.12 + 0.04
    labels = torch.randint(1, CLASSES, (total,), generator=generator)
    offsets = torch.tensor([0, *counts]).cumsum(0)
    return torch.cat([middle - half, middle + half], dim=-1), labels, offsets
