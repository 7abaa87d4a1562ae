"""The training loss as a whole.

    L = (L_cls + L_loc of the ARM) / N_arm + (L_cls + L_loc of the ODM) / N_odm

First stage: the tiled anchors are matched, every class is "object"; cross entropy over positives and mined negatives,
box loss over positives. Second stage: the anchors that the first one refined, of each image, are matched anew; what
the first one takes for background does not train, by the reading of the filter; the box loss is against the refined
anchors. Mining ranks by the plain cross entropy against background (of the ports' demoted positives, against their
class). N is the number of positives of the batch, at least 1; with "sampled" that of the classification counts
negatives, too. The focal loss mines nothing. Where the detector has no first stage ("arm": false) its terms are 0.

Soft labels and anchor weights go by the IoU of the box that the second stage puts out with the anchor's own ground
truth, or for background with the nearest one of the image.
"""

from __future__ import annotations

import math
from typing import Any

from . import filtering, losses, matching, mining
from .coding import decode, encode
from .geometry import iou

RULES: dict[str, Any] = {
    "matching": "bipartite",
    "arm_pos_iou": 0.5,
    "arm_neg_iou": 0.5,
    "odm_pos_iou": 0.5,
    "odm_neg_iou": 0.5,
    "filtering": "caffe",
    "arm_negative_ratio": 3.0,
    "odm_negative_ratio": 3.0,
    "min_negatives": 0,
    "empty_batch_negatives": 0,
    "box_loss": "smooth_l1",
    "cls_loss": "cross_entropy",
    "focal_gamma": 2.0,
    "focal_alpha": 0.25,
    "soft_label_alpha": 0.0,
    "anchor_weight_beta": 0.0,
    "class_weights": None,
    "task_balance": "fixed",
    "normalizer": "positives",
}
VARIANCES = [0.1, 0.1, 0.2, 0.2]
IGNORE_IOF = 0.5
TERMS = ("arm_cls", "arm_loc", "odm_cls", "odm_loc")


def run(given: dict[str, Any]) -> dict[str, Any]:
    rules = {**RULES, **given.get("rules", {})}
    theta, two_step, arm = given.get("theta", 0.99), given.get("two_step", True), given.get("arm", True)
    images, anchors = given["images"], given["anchors"]
    objects = [{**image, "labels": [1] * len(image["boxes"])} for image in images]

    result: dict[str, Any] = {"arm_cls": 0.0, "arm_loc": 0.0, "arm_positives": 0, "arm_negatives": 0}
    tiled = [anchors] * len(images)
    if arm:
        labels, rows = match(tiled, objects, rules, "arm")
        train = filtering.train("none", labels, [[True] * len(row) for row in labels])
        result = stage("arm", given["arm_logits"], given["arm_deltas"], tiled, objects, labels, rows, train, rules)

    refined = tiled
    if two_step:
        refined = [
            [decode(deltas, anchor, VARIANCES) for deltas, anchor in zip(image, anchors, strict=True)]
            for image in given["arm_deltas"]
        ]
    passes = [[filtering.passes_filter(row, theta) for row in image] for image in given["arm_logits"]]
    labels, rows = match(refined, images, rules, "odm")
    train = filtering.train(rules["filtering"], labels, passes)
    result |= stage("odm", given["odm_logits"], given["odm_deltas"], refined, images, labels, rows, train, rules)
    result["filtered"] = sum(not passed for image in passes for passed in image)
    result["total"] = sum(result[name] for name in TERMS)
    if rules["task_balance"] == "uncertainty":
        active = {name: result[name] for name in TERMS if trained(result, name)}
        result["total"] = losses.balance(active, dict.fromkeys(TERMS, 0.0))
    return result


def trained(result: dict[str, Any], term: str) -> bool:
    stage_name, kind = term.split("_")
    negatives = result[f"{stage_name}_negatives"] if kind == "cls" else 0
    return bool(result[f"{stage_name}_positives"] + negatives)


def match(
    references: list[list[Any]], images: list[dict[str, Any]], rules: dict[str, Any], name: str
) -> tuple[list[list[int]], list[list[int]]]:
    """Labels and rows of the image's own boxes."""
    options = {
        "positive_iou": rules[f"{name}_pos_iou"],
        "negative_iou": rules[f"{name}_neg_iou"],
        "force_match": rules["matching"],
        "ignore_iof": IGNORE_IOF,
    }
    found = [matching.match_image(boxes, image, options) for boxes, image in zip(references, images, strict=True)]
    return [labels for labels, _, _ in found], [rows for _, rows, _ in found]


def stage(
    name: str,
    logits: list[list[list[float]]],
    deltas: list[list[list[float]]],
    references: list[list[Any]],
    images: list[dict[str, Any]],
    labels: list[list[int]],
    rows: list[list[int]],
    train: dict[str, Any],
    rules: dict[str, Any],
) -> dict[str, Any]:
    positive, candidate = train["positive"], train["candidate"]
    ranking = [
        [losses.cross_entropy(row, max(label, 0)) for row, label in zip(*pair, strict=True)]
        for pair in zip(logits, labels, strict=True)
    ]
    negative = candidate
    if rules["cls_loss"] != "focal":
        options = {key: rules[key] for key in ("min_negatives", "empty_batch_negatives")}
        options["ratio"] = rules[f"{name}_negative_ratio"]
        negative = mining.mine(ranking, [sum(row) for row in positive], candidate, options)
    guided = name == "odm" and (
        rules["soft_label_alpha"] or rules["anchor_weight_beta"] or rules["class_weights"] is not None
    )
    cls, loc = [], []
    for b, image in enumerate(images):
        for a, reference in enumerate(references[b]):
            label = max(labels[b][a], 0)
            if positive[b][a] or negative[b][a]:
                loss = losses.cross_entropy(logits[b][a], label)
                if guided:
                    loss = guided_loss(logits[b][a], label, deltas[b][a], reference, image, rows[b][a], rules)
                if rules["cls_loss"] == "focal":
                    loss *= losses.focal_factor(logits[b][a], label, rules["focal_gamma"], rules["focal_alpha"])
                cls.append(loss)
            if positive[b][a]:
                loc.append(box_loss(deltas[b][a], reference, image["boxes"][rows[b][a]], rules["box_loss"]))
    positives = sum(sum(row) for row in positive)
    negatives = sum(sum(row) for row in negative)
    sampled = positives + (negatives if rules["normalizer"] == "sampled" else 0)
    return {
        f"{name}_cls": math.fsum(cls) / max(sampled, 1),
        f"{name}_loc": math.fsum(loc) / max(positives, 1),
        f"{name}_positives": positives,
        f"{name}_negatives": negatives,
    }


def box_loss(deltas: list[float], reference: Any, box: Any, kind: str) -> float:
    if kind == "giou":
        return 1 - losses.giou(decode(deltas, reference, VARIANCES), box)
    wanted = encode(box, reference, VARIANCES)
    return math.fsum(losses.smooth_l1(got - want) for got, want in zip(deltas, wanted, strict=True))


def guided_loss(
    logits: list[float],
    label: int,
    deltas: list[float],
    reference: Any,
    image: dict[str, Any],
    row: int,
    rules: dict[str, Any],
) -> float:
    final = decode(deltas, reference, VARIANCES)
    boxes = image["boxes"]
    objects = [g for g in range(len(boxes)) if not image.get("ignore", [False] * len(boxes))[g]]
    overlap = iou(final, boxes[row]) if label > 0 else max((iou(final, boxes[g]) for g in objects), default=0.0)
    weights = None if rules["class_weights"] is None else [1.0, *rules["class_weights"]]
    return losses.guided(logits, label, overlap, rules["soft_label_alpha"], rules["anchor_weight_beta"], weights)
