"""What the first stage does to the anchors: PADet's figures 1, 2 and 4d, for any of the two-stage detectors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import refinedet_ext as rx

from ..detectors import Detector
from ..structures import Batch
from .style import LINE_COLORS, grid_of_panels, save

EDGES = np.linspace(0.0, 1.0, 21)
BEFORE, AFTER = "tiled anchors", "refined anchors"


@dataclass(frozen=True)
class AnchorStudy:
    """Of M images and the G objects in them.

    positives, negatives: (2, M) int64, anchors that the first stage (as tiled) and the second (as refined) match with
    an object, and those that they match with the background. surviving: (M,) int64, the second stage's negatives that
    the filter leaves. histogram: (2, 20) int64, how many anchors have their best IoU with an object in each twentieth,
    tiled and refined. objects: (2, G) float64, the best IoU of each object that is not a crowd, with a tiled and a
    refined anchor.
    """

    positives: np.ndarray
    negatives: np.ndarray
    surviving: np.ndarray
    histogram: np.ndarray
    objects: np.ndarray


@torch.inference_mode()
def study_anchors(model: Detector, batches: Iterable[Batch], device: torch.device | str = "cpu") -> AnchorStudy:
    """Runs the network in eval mode and matches its anchors by the rules of its loss; images that could not be read are
    left out."""
    model = model.to(device).eval()
    rules, config = model.criterion.config, model.config
    thresholds = ((rules.arm_pos_iou, rules.arm_neg_iou), (rules.odm_pos_iou, rules.odm_neg_iou))
    counts: list[np.ndarray] = []  # of an image: positives twice, negatives twice, surviving
    histogram = np.zeros((2, len(EDGES) - 1), np.int64)
    objects: list[np.ndarray] = []
    for batch in batches:
        lost = {one.image_id for one in batch.unreadable}
        read = np.array([image_id not in lost for image_id in batch.image_ids], bool)
        images = batch.images.to(device)
        outputs = model.head_outputs(images if images.is_floating_point() else model.normalization.apply(images))
        refined = outputs.anchors.expand(len(read), -1, -1)
        if model.two_step:
            refined = rx.decode_boxes(outputs.arm_deltas.float(), outputs.anchors, config.variances)
        kept = rx.filter_anchors_mask(outputs.arm_logits.float(), config.theta)
        found = []
        for anchors, (positive, negative) in zip((outputs.anchors, refined), thresholds, strict=True):
            found.append(
                rx.match_anchors(
                    anchors,
                    batch.gt_boxes.to(device),
                    batch.gt_labels.to(device),
                    batch.gt_offsets.to(device),
                    positive_iou=positive,
                    negative_iou=negative,
                    force_match=rules.matching,
                    gt_ignore=None if batch.gt_ignore is None else batch.gt_ignore.to(device),
                )
            )
        rows = [(one.labels > 0).sum(1) for one in found] + [(one.labels == 0).sum(1) for one in found]
        rows.append(((found[1].labels == 0) & kept).sum(1))
        counts += list(torch.stack(rows, 1).cpu().numpy()[read])
        for number, one in enumerate(found):
            overlaps = one.iou.cpu().numpy()[read].clip(0, 1)  # rounding can lead above 1
            histogram[number] += np.histogram(overlaps, EDGES)[0]
        objects += _best_of_objects(batch, outputs.anchors, refined, read)
    table = np.array(counts, np.int64).reshape(-1, 5).T
    best = np.concatenate([np.zeros((2, 0)), *objects], axis=1)
    return AnchorStudy(table[:2], table[2:4], table[4], histogram, best)


def _best_of_objects(batch: Batch, anchors: torch.Tensor, refined: torch.Tensor, read: np.ndarray) -> list[np.ndarray]:
    """(2, N) of each image that could be read: the best IoU of its N objects with either kind of anchors."""
    rows = []
    offsets = batch.gt_offsets.tolist()
    for image in np.flatnonzero(read).tolist():
        chosen = slice(offsets[image], offsets[image + 1])
        boxes = batch.gt_boxes[chosen].to(anchors)
        if batch.gt_ignore is not None:
            boxes = boxes[~batch.gt_ignore[chosen].to(anchors.device)]
        if len(boxes):
            both = [rx.reference.box_iou(boxes, those).amax(1) for those in (anchors, refined[image])]
            rows.append(torch.stack(both).cpu().double().numpy())
    return rows


def as_json(study: AnchorStudy) -> dict[str, Any]:
    """Plain values: sums and means per image by stage, the histogram, and how well objects are covered."""

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if values.size else None

    stages = {}
    for number, name in enumerate((BEFORE, AFTER)):
        best = study.objects[number]
        stages[name] = {
            "positives_per_image": study.positives[number].tolist(),
            "negatives_per_image": study.negatives[number].tolist(),
            "mean_positives": mean(study.positives[number]),
            "mean_negatives": mean(study.negatives[number]),
            "iou_histogram": study.histogram[number].tolist(),
            "mean_best_iou_of_objects": mean(best),
            "objects_from_0.5": mean(best >= 0.5),
        }
    return {
        "images": len(study.surviving),
        "iou_edges": EDGES.round(2).tolist(),
        "stages": stages,
        "surviving_negatives_per_image": study.surviving.tolist(),
        "mean_surviving_negatives": mean(study.surviving),
    }


def plot_anchors(study: AnchorStudy, path: str | Path) -> None:
    """Draws the counts per image of both stages, the anchors' IoU and that of the objects before and after."""
    figure, columns = grid_of_panels(4, width=4.6, height=2.9, most_columns=2)
    counts, negatives, overlaps, objects = (panels[0] for panels in columns)
    colors = LINE_COLORS[:2]
    for axes, lines, title in (
        (
            counts,
            [(BEFORE, study.positives[0], colors[0], "-"), (AFTER, study.positives[1], colors[1], "-")],
            "positives in an image",
        ),
        (
            negatives,
            [
                (BEFORE, study.negatives[0], colors[0], "-"),
                (AFTER, study.negatives[1], colors[1], "-"),
                ("refined, after the filter", study.surviving, colors[1], "--"),
            ],
            "negatives in an image",
        ),
    ):
        for name, values, color, style in lines:
            # all images by rising count: no bins to choose, and every image is seen
            share = 100 * (np.arange(len(values)) + 1) / max(1, len(values))
            axes.plot(
                np.sort(values), share, color=color, linestyle=style, linewidth=1.8, drawstyle="steps-post", label=name
            )
        axes.set_xscale("symlog", linthresh=10)
        axes.set(xlim=(0, None), ylim=(0, 101), xlabel="anchors", ylabel="% of the images, summed up")
        axes.set_title(title, loc="left")
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    for number, (name, color) in enumerate(zip((BEFORE, AFTER), colors, strict=True)):
        overlaps.stairs(study.histogram[number], EDGES, color=color, linewidth=1.8, label=name)
        values = np.histogram(study.objects[number].clip(0, 1), EDGES)[0]
        objects.bar(
            middle + (number - 0.5) * 0.021, 100 * values / max(1, study.objects.shape[1]), 0.021, color=color,
            label=name,
        )  # fmt: skip
    overlaps.set_yscale("symlog", linthresh=1)
    overlaps.set(xlim=(0, 1), ylim=(0, None), xlabel="best IoU with an object", ylabel="anchors")
    overlaps.set_title("IoU of the anchors", loc="left")
    objects.set(xlim=(0, 1), xlabel="best IoU with an anchor", ylabel="% of the objects")
    objects.set_title("IoU of the objects", loc="left")
    handles, labels = negatives.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)
