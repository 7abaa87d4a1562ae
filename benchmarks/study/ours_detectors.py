"""What the detectors say to the vectors: anchors, filtering in training, losses, voting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import refinedet_ext as rx
from refinedet import HeadOutputs
from refinedet.anchors import AnchorGenerator, AnchorLevel
from refinedet.detectors.soft_after_hard import soft_after_hard
from refinedet.evaluation.results import ImageDetections
from refinedet.inference import multi_scale, voting
from refinedet.losses import (
    LossConfig,
    MultiBoxLoss,
    TaskBalance,
    anchor_weights,
    class_weights_from_counts,
    filter_candidates,
    focal_factor,
    giou_loss,
    soft_cross_entropy,
    soft_target,
)
from refinedet.losses.balance import TERMS
from refinedet.losses.mining import mine_by_rule
from refinedet.nms_config import NMSConfig
from refinedet.registry import model_entry

from ..references import reference_ops
from .ours import DOUBLE, FACES, LIMITS, SINGLE, Implementation, first_image, lists, quota


def anchors(given: dict[str, Any]) -> dict[str, Any]:
    """By the options of the registered model that the vector names, else by its own levels."""
    levels = given["levels"]
    if "model" in given:
        generator = model_entry(given["model"]).config.anchor_generator([level["step"] for level in levels])
    else:
        made = [AnchorLevel(x["size"], x["step"], x["max_size"], tuple(x["ratios"])) for x in levels]
        generator = AnchorGenerator(made, offset=given["offset"], clip=given["clip"])
    boxes = generator([tuple(shape) for shape in given["maps"]], tuple(given["image"]))
    return {"count": len(boxes), "boxes": (boxes[given["rows"]] if "rows" in given else boxes).tolist()}


def candidates(given: dict[str, Any]) -> dict[str, Any] | None:
    if given["of"] != "train":
        return None
    labels, passes = torch.tensor(given["labels"]), torch.tensor(given["passes"])
    found = filter_candidates(given["rule"], labels, passes)
    may = found.mining_labels == 0
    return lists(positive=found.positive, candidate=may if found.eligible is None else may & found.eligible)


def mine_in_batch(given: dict[str, Any]) -> dict[str, Any]:
    """By the rule of the loss, which knows of "all" and of batches without a positive."""
    face = FACES[0]
    loss, labels, options = face.array(given["loss"]), face.whole(given["labels"]), quota(face, given)
    config = LossConfig(
        min_negatives=options["min_negatives"], empty_batch_negatives=given.get("empty_batch_negatives", 0)
    )
    found = filter_candidates("none", labels, torch.ones_like(labels, dtype=torch.bool))._replace(
        eligible=options["eligible"]
    )

    def mine(labels: Tensor, ratio: float, least: int) -> tuple[Tensor]:
        eligible = options["eligible"]
        return (rx.mine_hard_negatives(loss, labels, ratio=ratio, min_negatives=least, eligible=eligible),)

    chosen = mine_by_rule(mine, found, config, given["ratio"])[0]
    return lists(chosen=chosen, count=chosen.sum(1))


def terms(ops: Any, dtype: torch.dtype) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The terms of the loss; ops: whose `smooth_l1_box_loss` and `mined_cross_entropy`."""

    def tensor(values: Any) -> Tensor:
        return torch.tensor(values, dtype=dtype)

    def run(given: dict[str, Any]) -> dict[str, Any]:
        of = given["of"]
        if of == "smooth_l1":
            deltas, boxes = (tensor(given[name]).reshape(-1, 4) for name in ("deltas", "boxes"))
            rows = torch.arange(len(boxes))[None]
            anchors = tensor(given["anchors"]).reshape(-1, 4)
            loss = ops.smooth_l1_box_loss(deltas[None], anchors, boxes, rows, tuple(given["variances"]))
            return {"loss": loss.item()}
        if of == "giou":
            return lists(loss=giou_loss(tensor(given["boxes"]), tensor(given["others"])))
        if of == "class_weights":
            counts, largest, gamma = given["counts"], given["largest"], given["gamma"]
            return {"weights": class_weights_from_counts(counts, largest=largest, gamma=gamma)}
        if of == "balance":
            return {"loss": balance(given, dtype)}
        logits, labels = tensor(given["logits"]), torch.tensor(given["labels"])
        if of == "cross_entropy":  # each row as an image: an object, or the one negative that is mined
            mined = ops.mined_cross_entropy(logits[:, None], labels[:, None], min_negatives=1)
            return lists(loss=mined.loss)
        log_p = logits.log_softmax(-1)
        if of == "focal":
            factor = focal_factor(log_p, labels, gamma=given["gamma"], alpha=given["alpha"])
            return lists(loss=factor * F.nll_loss(log_p, labels, reduction="none"))
        overlaps, weights = tensor(given["overlaps"]), given["class_weights"]
        target = soft_target(labels, overlaps, given["alpha"])
        weight = anchor_weights(labels, overlaps, given["beta"])
        divergence = soft_cross_entropy(log_p, labels, target, None if weights is None else tensor(weights))
        return lists(target=target, weight=weight, loss=weight * divergence)

    return run


def balance(given: dict[str, Any], dtype: torch.dtype) -> float:
    module = TaskBalance().to(dtype)
    present = {name: torch.tensor(name in given["terms"]) for name in TERMS}
    losses = {name: torch.tensor(given["terms"].get(name, 0.0), dtype=dtype) for name in TERMS}
    with torch.no_grad():
        module.log_variance.copy_(torch.tensor([given["log_variances"][name] for name in TERMS]))
        return float(module(losses, present))


def two_step(dtype: torch.dtype, *, references: bool = False) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The detectors' loss; references: on the plain ops."""

    def run(given: dict[str, Any]) -> dict[str, Any]:
        images = given["images"]
        names = ("arm_logits", "arm_deltas", "odm_logits", "odm_deltas", "anchors")
        outputs = HeadOutputs(*(torch.tensor(given[name], dtype=dtype) for name in names))
        counts = torch.tensor([0, *(len(image["boxes"]) for image in images)])
        flags = [flag for image in images for flag in image.get("ignore", [False] * len(image["boxes"]))]
        settings: dict[str, Any] = {name: given[name] for name in ("theta", "two_step", "arm") if name in given}
        settings |= {name: tuple(v) if isinstance(v, list) else v for name, v in given.get("rules", {}).items()}
        loss = MultiBoxLoss(**settings)
        truth = (
            torch.tensor([box for image in images for box in image["boxes"]], dtype=dtype).reshape(-1, 4),
            torch.tensor([label for image in images for label in image["labels"]], dtype=torch.int64),
            counts.cumsum(0),
            torch.tensor(flags, dtype=torch.bool),
        )
        if references:
            with reference_ops():
                found = loss(outputs, *truth)
        else:
            found = loss(outputs, *truth)
        return {name: value.item() for name, value in found.items()}

    return run


def soften_after_hard(given: dict[str, Any]) -> dict[str, Any] | None:
    if given.get("hard_iou") is None:
        return None
    boxes, scores = (torch.tensor([given[name]], dtype=torch.float32) for name in ("boxes", "scores"))
    limits = {name: given[name] for name in LIMITS if name in given}
    hard = {**limits, "iou_threshold": given["hard_iou"], "method": "hard"}
    found = rx.multiclass_nms(boxes, scores, **{"top_k": None, **hard})
    return first_image(soft_after_hard(found, NMSConfig(**limits, hard_iou=given["hard_iou"]), scores.shape[2] + 1))


def vote(given: dict[str, Any]) -> dict[str, Any]:
    of = given["of"]

    def rows(boxes: Any) -> np.ndarray:
        return np.array(boxes, np.float64).reshape(-1, 4)

    if of == "recipe":
        recipe = multi_scale.RECIPES[f"{given['side']}_{'coco' if given['coco'] else 'voc'}"]
        passes = [[one.long, one.short, one.below, one.above] for one in recipe.passes]
        return {"passes": passes, "voting": recipe.voting}
    if of == "pass":
        one = multi_scale.Pass(given["long"], given["short"], given["below"], given["above"])
        size = one.size(given["width"], given["height"])
        return {"size": list(size), "keeps": one.keeps(rows(given["boxes"])).tolist()}
    if of == "merge":
        found = [
            ImageDetections(0, rows(x["boxes"]), np.array(x["scores"]), np.array(x["labels"], np.int64))
            for x in given["passes"]
        ]
        kind = "box" if given.get("min_score") is None else "soft"
        recipe = multi_scale.MultiScale((multi_scale.Pass(64, 64),), voting=kind, keep=given["keep"])
        merged = multi_scale.merge(found, recipe, min_score=given.get("min_score", 0.0))
        return lists(boxes=merged.boxes, scores=merged.scores, labels=merged.labels)
    boxes, scores = rows(given["boxes"]), np.array(given["scores"])
    if of == "box":
        voted = voting.box_voting(boxes, scores)
    else:
        voted = voting.soft_box_voting(boxes, scores, min_score=given["min_score"])
    return lists(boxes=voted[0], scores=voted[1])


ANCHORS = [Implementation("AnchorGenerator", anchors, SINGLE)]
FILTERING = [Implementation("filter_candidates", candidates, SINGLE)]
MINING = [Implementation("mine_by_rule", mine_in_batch, SINGLE)]
LOSSES = [
    Implementation("losses float32", terms(rx, torch.float32), SINGLE),
    Implementation("losses float64", terms(rx, torch.float64), DOUBLE),
    Implementation("reference float64", terms(rx.reference, torch.float64), DOUBLE),
]
TWO_STEP = [
    Implementation("MultiBoxLoss float32", two_step(torch.float32), 1e-5),
    Implementation("MultiBoxLoss float64", two_step(torch.float64), SINGLE),  # overlaps are float32 in both
    Implementation("MultiBoxLoss on references", two_step(torch.float64, references=True), SINGLE),
]
SOFT_NMS = [Implementation("soft_after_hard", soften_after_hard, SINGLE)]
VOTING = [Implementation("multi_scale", vote, DOUBLE)]
