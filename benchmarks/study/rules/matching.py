"""Which ground truth each anchor answers for.

"bipartite", the original (Caffe): of all pairs of a free anchor and a free ground truth the one with the largest IoU is
matched, as long as that is above 1e-6; then each anchor that is still free goes to the ground truth that it overlaps
most, where the IoU is at least the positive threshold. "argmax", the ports: each ground truth takes the anchor that it
overlaps most, one after the other, so that a later one takes it from an earlier one. "none": the threshold alone.

An anchor without a ground truth is background (0) where its best IoU is below the negative threshold, else it is left
out (-1). Ground truths to ignore are matched by nothing; an unmatched anchor with at least ignore_iof of its own area
in one of them is left out. Ties: the lower anchor, then the lower ground truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .geometry import Box, area, iou, shared

LEAST_IOU = 1e-6


def run(given: dict[str, Any]) -> dict[str, Any]:
    labels, index, best, first = [], [], [], 0
    for b, image in enumerate(given["images"]):
        anchors = given["anchors_per_image"][b] if "anchors_per_image" in given else given["anchors"]
        found = match_image(anchors, image, given)
        labels.append(found[0])
        index.append([-1 if row < 0 else first + row for row in found[1]])
        best.append(found[2])
        first += len(image["boxes"])
    return {"labels": labels, "gt_index": index, "iou": best}


def match_image(
    anchors: Sequence[Box], image: dict[str, Any], rules: dict[str, Any]
) -> tuple[list[int], list[int], list[float]]:
    """Of each anchor: the label, the row of its ground truth or -1, the best IoU."""
    boxes = image["boxes"]
    ignore = image.get("ignore", [False] * len(boxes))
    objects = [row for row in range(len(boxes)) if not ignore[row]]
    overlaps = [[iou(anchor, boxes[row]) for row in objects] for anchor in anchors]  # [anchor][place in objects]
    matched = forced(overlaps, len(objects), rules["force_match"])
    labels, index, best = [], [], []
    for a, anchor in enumerate(anchors):
        most = max(overlaps[a], default=0.0)
        place = matched.get(a)
        if place is None and objects and most >= rules["positive_iou"]:
            place = overlaps[a].index(most)
        inside = any(
            area(anchor) > 0 and shared(anchor, boxes[row]) / area(anchor) >= rules["ignore_iof"]
            for row in range(len(boxes))
            if ignore[row]
        )
        best.append(most)
        if place is not None:
            labels.append(image["labels"][objects[place]])
            index.append(objects[place])
        else:
            labels.append(0 if most < rules["negative_iou"] and not inside else -1)
            index.append(-1)
    return labels, index, best


def forced(overlaps: list[list[float]], objects: int, mode: str) -> dict[int, int]:
    """The anchors that ground truths take whatever the threshold says: anchor to place of the ground truth."""
    matched: dict[int, int] = {}
    if mode == "bipartite":
        free = list(range(objects))
        while free:
            top, pair = LEAST_IOU, None
            for a, row in enumerate(overlaps):
                for g in free:
                    if a not in matched and row[g] > top:
                        top, pair = row[g], (a, g)
            if pair is None:
                break
            matched[pair[0]] = pair[1]
            free.remove(pair[1])
    elif mode == "argmax":
        for g in range(objects):
            column = [row[g] for row in overlaps]
            if max(column, default=0.0) > LEAST_IOU:
                matched[column.index(max(column))] = g
    return matched
